"""Passes that the tests of gradcam-opt load: they rename, fail, break the IR, and cross to CIRCT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from gradcam.errors import GradcamError, fail
from gradcam.passes.infra import contexts
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.infra.registry import register


@register
@dataclass(frozen=True)
class Rename(Pass):
    """Gives functions another name.

    This pass turns:

        func.func @f()

    into:

        func.func @f_renamed_1()
    """

    name: ClassVar[str] = "test-rename"
    suffix: str = "renamed"
    count: int = 1
    style: Literal["snake", "kebab"] = "snake"

    def run(self, module: Any) -> None:
        ir = contexts.bindings("mlir")
        separator = "_" if self.style == "snake" else "-"
        for op in module.body.operations:
            name = ir.StringAttr(op.attributes["sym_name"]).value
            op.attributes["sym_name"] = ir.StringAttr.get(separator.join([name, self.suffix, str(self.count)]))


@register
@dataclass(frozen=True)
class Fail(Pass):
    """Fails at the first function, or nowhere."""

    name: ClassVar[str] = "test-fail"
    located: bool = True

    def run(self, module: Any) -> None:
        raise fail(module.body.operations[0], "does not like this") if self.located else GradcamError("likes nothing")


@register
@dataclass(frozen=True)
class Needs(Pass):
    """Does nothing with an option that must be given."""

    name: ClassVar[str] = "test-needs"
    count: int

    def run(self, module: Any) -> None:
        pass


@register
@dataclass(frozen=True)
class Mistaken(Pass):
    """Has a mistake in its code, or ends the interpreter."""

    name: ClassVar[str] = "test-mistaken"
    exits: bool = False

    def run(self, module: Any) -> None:
        if self.exits:
            raise SystemExit(0)
        _ = module.no_such_attribute


@register
@dataclass(frozen=True)
class BreakIR(Pass):
    """Leaves a function whose type does not fit its body."""

    name: ClassVar[str] = "test-break"

    def run(self, module: Any) -> None:
        ir = contexts.bindings("mlir")
        module.body.operations[0].attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get([], []))


@register
@dataclass(frozen=True)
class Cross(Pass):
    """Replaces the module by one of CIRCT with an adder."""

    name: ClassVar[str] = "test-cross"
    target: ClassVar[str] = "circt"

    def run(self, module: Any) -> Any:
        text = (
            b"hw.module @adder(in %a : i8, in %b : i8, out c : i8) {\n%0 = comb.add %a, %b : i8\nhw.output %0 : i8\n}"
        )
        return contexts.parse_module(text, contexts.make_context("circt"))
