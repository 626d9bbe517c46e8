"""The pipeline parser, typed options, and the pass manager over both MLIR copies."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest
from torch_mlir import ir

from gradcam import PassFailure, PassManager
from gradcam.dialect import make_context
from gradcam.errors import GradcamError, fail
from gradcam.passes.infra import contexts, registry
from gradcam.passes.infra.instrumentation import CrashReproducer, PrintIR, Timing
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.infra.pass_manager import Instrumentation
from gradcam.passes.infra.pass_options import make_pass
from gradcam.passes.infra.pipeline_parser import PipelineError, parse_pipeline

SOURCE = """func.func @f(%a: i32) -> i32 {
  %0 = arith.addi %a, %a : i32
  %1 = arith.addi %a, %a : i32
  %2 = arith.muli %0, %1 : i32
  return %2 : i32
}"""


@dataclass(frozen=True)
class Tag(Pass):
    """Sets an attribute on the module."""

    name: ClassVar[str] = "tag"
    tile: tuple[int, ...] = (1,)
    bits: int = 8
    rate: float = 0.5
    pe: str = "16x16"
    fuse: bool = False
    method: Literal["gradcam", "hirescam"] = "gradcam"
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.bits > 16:
            raise GradcamError(f"bits must be at most 16, got {self.bits}")

    def run(self, module: Any) -> None:
        module.operation.attributes["tag.bits"] = ir.IntegerAttr.get(ir.IntegerType.get_signless(32), self.bits)


@dataclass(frozen=True)
class Refuse(Pass):
    """Refuses every function."""

    name: ClassVar[str] = "refuse"

    def run(self, module: Any) -> None:
        raise fail(module.body.operations[0], "no functions, please")


@dataclass(frozen=True)
class Cross(Pass):
    """Makes a CIRCT module with an adder and a copy of it."""

    name: ClassVar[str] = "cross"
    target: ClassVar[str] = "circt"

    def run(self, module: Any) -> Any:
        text = b"""hw.module @adder(in %a : i8, in %b : i8, out c : i8, out d : i8) {
          %0 = comb.add %a, %b : i8
          %1 = comb.add %a, %b : i8
          hw.output %0, %1 : i8, i8
        }"""
        return contexts.parse_module(text, contexts.make_context("circt"))


@pytest.fixture(autouse=True)
def passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_factories", dict(registry._factories))
    for cls in (Tag, Refuse, Cross):
        registry.register(cls)
    monkeypatch.setitem(registry.PIPELINES, "tag-pipeline", ("tag{bits=3}", "cse"))


@pytest.fixture
def module() -> ir.Module:
    return ir.Module.parse(SOURCE, make_context())


def count(module: Any, op: str) -> int:
    return str(module).count(f"= {op} ")


# ---------------------------------------------------------------------------------------------------------- parser


def test_parser_keeps_nesting_options_and_columns() -> None:
    text = "builtin.module(a,b{x=1 y={c d}},func.func( c , d{z='}'} ),e)"
    a, b, anchor, e = parse_pipeline(text)
    assert (a.name, a.children, b.options, e.name) == ("a", None, "x=1 y={c d}", "e")
    assert [c.name for c in anchor.children or ()] == ["c", "d"]
    assert (anchor.children or ())[1].options == "z='}'"
    for element in (a, b, anchor, e, *(anchor.children or ())):
        assert text[element.column - 1 :].startswith(element.name)
    assert text[b.options_column - 1 :].startswith("x=1")


def test_parser_takes_empty_pipelines_and_bare_lists() -> None:
    assert parse_pipeline("") == parse_pipeline("builtin.module()") == ()
    assert [e.name for e in parse_pipeline("a, b")] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("builtin.module(a", 15, "'(' is never closed"),
        ("builtin.module(a))", 18, "unbalanced ')'"),
        ("a{x=1", 2, "'{' is never closed"),
        ("a}", 2, "unbalanced '}'"),
        ("a,,b", 3, "expected a pass name before ','"),
        ("a,", 3, "expected a pass name at the end"),
        ("a b", 3, "expected ',' before 'b'"),
        ("builtin.module(cse,canonicalise)", 20, "unknown pass 'canonicalise'; did you mean 'canonicalize'?"),
        ("tga{bits=1}", 1, "unknown pass 'tga'; did you mean 'tag'?"),
        ("zzzzzz", 1, "unknown pass 'zzzzzz'"),
        ("tag{bits=1 bist=2}", 12, "pass 'tag' has no option 'bist'; did you mean 'bits'?"),
        (
            "tag{zzzzzz}",
            5,
            "pass 'tag' has no option 'zzzzzz'; it has tile, bits, rate, pe, fuse, method, limit",
        ),
        ("refuse{bits=1}", 8, "pass 'refuse' has no option 'bits'; it has none"),
        ("cse,tag{bits=x}", 9, "option 'bits' of pass 'tag' takes an integer, got 'x'"),
        ("tag{bits=}", 5, "option 'bits' of pass 'tag' takes an integer, got ''"),
        ("tag{tile=1,y}", 5, "option 'tile' of pass 'tag' takes integers separated by commas, got '1,y'"),
        ("tag{fuse=maybe}", 5, "option 'fuse' of pass 'tag' takes true or false, got 'maybe'"),
        ("tag{method=cam}", 5, "option 'method' of pass 'tag' takes one of gradcam, hirescam, got 'cam'"),
        ("tag{bits=1 bits=2}", 12, "option 'bits' of pass 'tag' is given twice"),
        ("tag{bits=17}", 5, "pass 'tag': bits must be at most 16, got 17"),
        ("func.func(tag)", 11, "pass 'tag' runs on a whole module, not inside 'func.func'"),
        ("tag-pipeline{a=1}", 14, "pipeline 'tag-pipeline' takes no options"),
        ("cross,tag", 7, "pass 'tag' runs on mlir modules, here the module is circt (since 'cross')"),
        ("cross,lower-affine", 7, "pass 'lower-affine' runs on mlir modules, here the module is circt (since 'cross')"),
        ("tag,hw.module(hw-cleanup)", 15, "pass 'hw-cleanup' runs on circt modules, here the module is mlir"),
        ("cross,cross", 7, "pass 'cross' runs on mlir modules, here the module is circt (since 'cross')"),
        ("hw.module(hw-cleanup),tag", 23, "pass 'tag' runs on mlir modules, here the module is circt"),
        (
            "func.func(affine-loop-tile{nope=3})",
            11,
            "pass 'affine-loop-tile': <Pass-Options-Parser>: no such option nope",
        ),
    ],
)
def test_mistakes_are_reported_with_their_column(text: str, column: int, reason: str) -> None:
    with pytest.raises(PipelineError) as caught:
        PassManager.parse(text)
    assert (caught.value.column, caught.value.reason) == (column, reason)
    assert str(caught.value) == f"pipeline column {column}: {reason}"


def test_mistake_in_a_named_pipeline_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.PIPELINES, "bad-pipeline", ("tag", "nothing-like-it"))
    with pytest.raises(PipelineError, match="column 5: in pipeline 'bad-pipeline': unknown pass 'nothing-like-it'"):
        PassManager.parse("cse,bad-pipeline")


# --------------------------------------------------------------------------------------------------------- options


def test_options_have_the_types_of_the_fields() -> None:
    text = "tile=4,{2} bits=4 rate=1e-3 pe=8x8 fuse method=hirescam limit=7".replace("{2}", "2")
    assert make_pass(Tag, text) == Tag((4, 2), 4, 1e-3, "8x8", True, "hirescam", 7)
    assert make_pass(Tag, "tile={1,2} pe='a b' fuse=0") == Tag(tile=(1, 2), pe="a b")
    assert make_pass(Tag, "") == Tag()


def test_printed_pipeline_parses_to_the_same_passes() -> None:
    manager = PassManager.parse("builtin.module(tag{pe='a b' tile=3,4},func.func(cse,canonicalize),func.func(cse),tag)")
    text = str(manager)
    assert text.startswith("builtin.module(tag{tile=3,4 bits=8 rate=0.5 pe='a b' fuse=false method=gradcam},func.func(")
    assert PassManager.parse(text).steps == manager.steps
    assert str(PassManager.parse(text)) == text


@pytest.mark.parametrize("text", ["", "a b", "a\nb", "it's", 'say "x"', "f(x)", "a,b", "a=b"])
def test_text_options_are_printed_so_that_they_parse(text: str) -> None:
    (step,) = PassManager.parse(str(PassManager().add(Tag(pe=text)))).steps
    assert step.pass_.pe == text


def test_options_that_a_pass_needs_are_asked_for() -> None:
    @dataclass(frozen=True)
    class Needs(Pass):
        name: ClassVar[str] = "needs"
        chunk_size: int

    with pytest.raises(GradcamError, match=r"^pass 'needs' needs the option 'chunk-size' \(an integer\)$"):
        PassManager().add(Needs)
    assert make_pass(Needs, "chunk-size=3") == Needs(3)
    with pytest.raises(GradcamError, match="'rate' of pass 'tag' takes a number, got 'nan'"):
        make_pass(Tag, "rate=nan")


@pytest.mark.parametrize("hint", [list[int], dict, "NoSuchType", int | str, tuple[int, int]])
def test_options_of_types_without_a_text_are_refused(hint: Any) -> None:
    @dataclass(frozen=True)
    class Odd(Pass):
        name: ClassVar[str] = "odd"
        size: int = 0

    Odd.__annotations__["size"] = hint
    with pytest.raises(GradcamError, match=r"^pass 'odd': the types? of"):
        make_pass(Odd, "size=3")


@pytest.mark.parametrize("what", [3, None, ["cse"], object()])
def test_what_is_no_pass_is_refused(what: Any) -> None:
    with pytest.raises(
        GradcamError, match=f"^a pipeline is made of texts, passes and callables, got {type(what).__name__}$"
    ):
        PassManager().add(what)


def test_a_class_is_registered_only_as_a_pass_with_a_name() -> None:
    with pytest.raises(GradcamError, match="int is registered as a pass, but not derived from Pass"):
        registry.register(int)  # type: ignore[type-var]
    with pytest.raises(GradcamError, match="the pass Pass needs a name such as 'my-pass', it has None"):
        registry.register(Pass)
    with pytest.raises(GradcamError, match="the pass Pass needs a name"):
        PassManager().add(Pass)


def test_named_pipelines_expand() -> None:
    assert [step.text.partition("{")[0] for step in PassManager.parse("tag-pipeline,canonicalize").steps] == [
        "tag",
        "cse",
        "canonicalize",
    ]


def test_suggested_upstream_passes_exist() -> None:
    for side, names in registry.UPSTREAM_PASSES.items():
        for name in names:
            try:
                contexts.upstream_pass_manager(side).parse(f"builtin.module({name})", contexts.bindings(side).Context())
            except ValueError as error:
                assert "restricted to" in str(error), name


def test_registered_names_are_those_of_the_classes() -> None:
    for name in registry.pass_names():
        try:
            cls = registry.lookup(name)
        except GradcamError as error:
            assert "not available" in str(error)
        else:
            assert cls.name == name


@pytest.mark.parametrize("name", sorted(registry.PIPELINES))
def test_named_pipelines_parse(name: str) -> None:
    assert PassManager.parse(name).steps


def test_registered_name_is_taken_once() -> None:
    with pytest.raises(GradcamError, match="'tag' is taken"):
        registry.register(Tag)
    with pytest.raises(GradcamError, match="'tag-pipeline' is taken"):
        registry.register_lazy("tag-pipeline", "nowhere", "Nothing")


def test_pass_whose_module_is_missing_is_reported() -> None:
    registry.register_lazy("not-there", "no_such_module", "Nothing")
    with pytest.raises(PipelineError, match="column 5: pass 'not-there' is not available: No module named"):
        PassManager.parse("tag,not-there")


# ---------------------------------------------------------------------------------------------------------- running


def test_users_own_pass_in_the_middle(module: ir.Module) -> None:
    seen = []

    def look(m: ir.Module) -> None:
        seen.append(count(m, "arith.addi"))
        assert ir.Context.current == m.context

    result = PassManager.parse("builtin.module(cse)").add(look).add("tag{bits=4}").add(Tag(bits=5)).add(Tag).run(module)
    assert seen == [1]
    assert result is module
    assert "tag.bits = 8 : i32" in str(module)


def test_pipeline_crosses_to_circt(module: ir.Module) -> None:
    result = PassManager.parse("builtin.module(func.func(cse),cross,hw.module(cse))").run(module)
    assert contexts.side_of(result) == "circt"
    assert count(result, "comb.add") == 1


def test_callable_may_cross(module: ir.Module) -> None:
    def crossing(m: ir.Module) -> Any:
        return Cross().run(m)

    result = PassManager.parse("tag").add(crossing).add("hw.module(cse,hw-cleanup)").run(module)
    assert count(result, "comb.add") == 1


def test_pipeline_may_start_with_hw_ir() -> None:
    adder = Cross().run(None)
    assert count(PassManager.parse("hw.module(cse)").run(adder), "comb.add") == 1
    with pytest.raises(PassFailure, match="pass 'lower-affine' failed: does not run on circt modules"):
        PassManager.parse("lower-affine").run(adder)
    with pytest.raises(PassFailure, match="pass 'tag' failed: runs on mlir modules, this is a circt module"):
        PassManager.parse("tag").run(adder)


@pytest.mark.parametrize(
    ("pipeline", "source"),
    [
        ("cse", None),
        ("cse,tag", "mlir"),
        ("tag,cross,hw.module(hw-cleanup)", "mlir"),
        ("cse,hw.module(hw-cleanup)", "circt"),
    ],
)
def test_pipeline_knows_the_side_it_starts_on(pipeline: str, source: str | None) -> None:
    assert PassManager.parse(pipeline).source == source
    assert PassManager().add(lambda _: None).add(pipeline).source is None


def test_callable_must_return_a_module(module: ir.Module) -> None:
    with pytest.raises(PassFailure, match="pass '<lambda>' failed: expected an MLIR module, got int"):
        PassManager().add(lambda _: 3).run(module)


def break_type(module: ir.Module) -> None:
    module.body.operations[0].attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get([], []))


def test_result_is_verified_after_every_pass(module: ir.Module) -> None:
    ran = []
    manager = PassManager().add(break_type).add(ran.append)
    with pytest.raises(PassFailure, match=r"pass 'break_type' failed: 'func\.func' op entry block must have") as caught:
        manager.run(module)
    assert ran == []
    assert (caught.value.diagnostics[0].line, caught.value.diagnostics[0].column) == (1, 1)


def test_verification_can_be_turned_off(module: ir.Module) -> None:
    PassManager(verify_each=False).add(break_type).run(module)


# ------------------------------------------------------------------------------------------------------ diagnostics


def test_project_failure_has_location_and_name(module: ir.Module) -> None:
    with pytest.raises(PassFailure, match=r"^pass 'refuse' failed: no functions, please$") as caught:
        PassManager.parse("tag,refuse").run(module)
    failure = caught.value
    assert failure.pass_name == "refuse"
    assert str(failure.location) == 'loc("-":1:1)'
    assert [str(d) for d in failure.diagnostics] == ["-:1:1: error: no functions, please"]


@pytest.mark.parametrize("pipeline", ["refuse", "transform-interpreter{entry-point=none}"])
def test_handlers_hear_failures_where_the_context_emits_them(module: ir.Module, pipeline: str) -> None:
    heard = []

    def handle(diagnostic: Any) -> bool:
        heard.append(diagnostic.message)
        return True

    module.context.emit_error_diagnostics = True
    module.context.attach_diagnostic_handler(handle)
    with pytest.raises(PassFailure) as caught:
        PassManager.parse(pipeline).run(module)
    assert len(heard) == 1
    assert caught.value.diagnostics == []


def test_upstream_failure_keeps_its_text(module: ir.Module) -> None:
    with pytest.raises(PassFailure, match="could not find a nested named sequence with name: none"):
        PassManager.parse("transform-interpreter{entry-point=none}").run(module)


def test_bug_in_a_pass_keeps_its_traceback(module: ir.Module) -> None:
    def bug(_: ir.Module) -> None:
        raise KeyError("oops")

    with pytest.raises(KeyError) as caught:
        PassManager().add(bug).run(module)
    assert caught.value.__notes__ == ["in pass 'bug'"]


# -------------------------------------------------------------------------------------------------- instrumentation


class Record(Instrumentation):
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def before(self, name: str, module: Any) -> None:
        self.events.append(("before", name))

    def after(self, name: str, module: Any, seconds: float) -> None:
        assert seconds >= 0
        self.events.append((contexts.side_of(module), name))

    def failed(self, step: Any, module: Any) -> None:
        self.events.append(("failed", step.name))


def test_every_single_pass_is_watched(module: ir.Module) -> None:
    record, timing = Record(), Timing()
    PassManager.parse("func.func(cse,canonicalize),cross,hw.module(cse)").instrument(timing).run(module, record)
    assert record.events == [
        ("before", "cse"),
        ("mlir", "cse"),
        ("before", "canonicalize"),
        ("mlir", "canonicalize"),
        ("before", "cross"),
        ("circt", "cross"),
        ("before", "cse"),
        ("circt", "cse"),
    ]
    assert [t.name for t in timing.times] == ["cse", "canonicalize", "cross", "cse"]
    assert all(t.seconds >= 0 for t in timing.times)


def test_failure_is_watched(module: ir.Module) -> None:
    record = Record()
    with pytest.raises(PassFailure):
        PassManager.parse("tag,refuse,cse").run(module, record)
    assert record.events[-2:] == [("before", "refuse"), ("failed", "refuse")]


def test_ir_is_saved_after_every_pass(module: ir.Module, tmp_path: Any) -> None:
    directory = tmp_path / "ir"
    PassManager.parse("cse,cross").add(lambda _: None).run(module, PrintIR(directory=directory))
    assert sorted(p.name for p in directory.iterdir()) == ["01-cse.mlir", "02-cross.mlir", "03-_lambda_.mlir"]
    assert count((directory / "01-cse.mlir").read_text(), "arith.addi") == 1
    assert "hw.module @adder" in (directory / "02-cross.mlir").read_text()


def test_reproducer_holds_the_ir_before_the_failing_pass(module: ir.Module, tmp_path: Any) -> None:
    path = tmp_path / "failed.mlir"
    with pytest.raises(PassFailure):
        PassManager.parse("cse,refuse").run(module, CrashReproducer(path))
    text = path.read_text()
    assert "// configuration: --pass-pipeline='builtin.module(refuse)'" in text
    assert count(text, "arith.addi") == 1
    with pytest.raises(PassFailure, match="no functions, please"):
        PassManager.parse("refuse").run(ir.Module.parse(text, make_context()))


def test_nothing_is_written_without_a_failure(module: ir.Module, tmp_path: Any) -> None:
    PassManager.parse("cse").run(module, CrashReproducer(tmp_path / "failed.mlir"))
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------ sides


@pytest.mark.parametrize(
    ("text", "side"),
    [
        (SOURCE, "mlir"),
        ("// hw.module @f\nfunc.func private @f()", "mlir"),
        ('func.func private @f() attributes {a = "x hw.module"}', "mlir"),
        ("hw.module @f() {}", "circt"),
        ("module { hw.module @f() {} }", "circt"),
        ('"hw.module"() : () -> ()', "circt"),
        ("func.func @f(%x: i8) {\n  %0 = comb.add %x, %x : i8\n  return\n}", "circt"),
    ],
)
def test_side_of_text(text: str, side: str) -> None:
    assert contexts.guess_side(text.encode()) == side


def test_side_of_other_objects() -> None:
    with pytest.raises(GradcamError, match="expected an MLIR module, got str"):
        contexts.side_of("x")


def test_public_name_is_lazy() -> None:
    code = (
        "import sys, gradcam; assert 'torch_mlir' not in sys.modules;"
        "gradcam.PassManager.parse('cse'); assert not {'torch', 'pycde'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
