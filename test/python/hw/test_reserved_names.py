"""Names of the model that SystemVerilog reserves: ports get others, the same ones in every file."""

import pytest
from pyslang.analysis import AnalysisManager
from pyslang.ast import Compilation
from pyslang.parsing import TokenKind
from pyslang.syntax import SyntaxTree
from torch_mlir import ir

from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.output import write_rtl
from gradcam.passes.hw import builder
from gradcam.passes.hw.signals import Signal
from gradcam.passes.infra.pass_manager import PassManager
from gradcam.passes.program import names
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.reserved import SYSTEM_VERILOG

#: Words that CIRCT's export leaves as they are, that it renames, and that C++ alone reserves.
WORDS = ("soft", "global", "let", "untyped", "reg", "class", "template")

#: An element of the image, by an index that a port gives and a register keeps.
PROGRAM = """
func.func @main(%image: memref<8xi8> {{gradcam.name = "image"}}, %index: memref<1xi32> {{gradcam.name = "{port}"}},
                %out: memref<1xi8> {{gradcam.name = "out"}}) {{
  %zero = arith.constant 0 : index
  %x = memref.alloc() : memref<8xi8>
  %r = memref.alloc() : memref<1xi32>
  affine.for %i = 0 to 8 {{
    affine.parallel (%l) = (0) to (1) {{
      %v = affine.load %image[%i] : memref<8xi8>
      affine.store %v, %x[%i] : memref<8xi8>
    }}
  }}
  affine.for %i = 0 to 1 {{
    affine.parallel (%l) = (0) to (1) {{
      %v = affine.load %index[0] : memref<1xi32>
      affine.store %v, %r[0] : memref<1xi32>
    }} loc("{layer}")
  }} loc("{layer}")
  %v = memref.load %r[%zero] : memref<1xi32>
  %c = arith.index_cast %v : i32 to index
  affine.for %i = 0 to 1 {{
    affine.parallel (%l) = (0) to (1) {{
      %n = affine.load %x[symbol(%c) mod 8] : memref<8xi8>
      affine.store %n, %out[%i] : memref<1xi8>
    }}
  }}
  return
}}
"""
PASSES = "gradcam-form-engines,gradcam-plan-memory,gradcam-assign-cycles"


def scheduled(port, layer):
    return PassManager.parse(PASSES).run(ir.Module.parse(PROGRAM.format(port=port, layer=layer), make_context()))


def rtl_ports(module, folder):
    """The ports of the top, as slang reads them without a fault."""
    write_rtl(PassManager.parse("convert-affine-to-hw,gradcam-sv-pipeline").run(module), folder)
    compilation, analysis = Compilation(), AnalysisManager()
    for path in sorted(folder.glob("*.sv")):
        compilation.addSyntaxTree(SyntaxTree.fromFile(str(path)))
    found = list(compilation.getAllDiagnostics())
    compilation.freeze()
    analysis.analyze(compilation)
    assert not [d for d in [*found, *analysis.getDiagnostics()] if d.isError()]
    (top,) = compilation.getRoot().topInstances
    return [port.name for port in top.body.portList]


@pytest.mark.parametrize("word", [*WORDS, "other"])
def test_a_port_has_the_same_legal_name_everywhere(word, tmp_path):
    legal = f"{word}_" if word in WORDS else word
    for port, layer, named in ((word, "number", [legal, "number"]), ("number", word, ["number", legal])):
        module = scheduled(port, layer)
        with module.context:
            program = ScheduledProgram.of(module)
            assert [program.arguments[1], *program.registers.values()] == [named[0], f"{named[1]}_q"]
        (tmp_path / port).mkdir()
        assert set(named) <= set(rtl_ports(module, tmp_path / port))


@pytest.mark.parametrize("word", ["soft", "reg"])
def test_without_it_a_port_is_refused(word, tmp_path, monkeypatch):
    monkeypatch.setattr(names, "legal", lambda name: name)
    with pytest.raises(GradcamError, match=f"cannot be called '{word}', which is reserved in SystemVerilog"):
        rtl_ports(scheduled(word, "number"), tmp_path)


def test_a_module_or_a_port_with_a_reserved_name_is_refused():
    for name, ports in (("weak", []), ("bank0", [Signal("strong")])):
        with pytest.raises(GradcamError, match=r"a module or a port cannot be called '(weak|strong)'"):
            builder.module(name, ports, [], lambda b, p: {})


def test_the_words_are_those_that_slang_takes_for_keywords():
    kinds = {name.removesuffix("Keyword").lower() for name in dir(TokenKind) if name.endswith("Keyword")}
    assert len(SYSTEM_VERILOG) == 248 and {word.replace("_", "") for word in SYSTEM_VERILOG} == kinds
