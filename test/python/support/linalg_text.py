"""Writes a module of linalg on tensors line by line, without a PyTorch model, and compiles it to a design."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from torch_mlir import ir

from gradcam.compiler import Settings, pipeline_for
from gradcam.dialect import make_context
from gradcam.output import write_memories, write_rtl
from gradcam.passes.infra.pass_manager import PassManager
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.program import describe_program
from gradcam.schema.document import write
from gradcam.schema.program import Program


def tensor(bits: int, *shape: int) -> str:
    return f"tensor<{'x'.join(map(str, [*shape, f'i{bits}']))}>"


class Text:
    """A function under construction: values by name, with their types."""

    def __init__(self, image: Sequence[int]) -> None:
        self.types = {"%image": tensor(8, *image)}
        self.lines = []
        for bits in (1, 8, 32):
            self.lines.append(f"%zero{bits} = arith.constant {'false' if bits == 1 else f'0 : i{bits}'}")

    def value(self, name: str, type_: str, text: str) -> str:
        self.lines.append(f"%{name} = {text}")
        self.types[f"%{name}"] = type_
        return f"%{name}"

    def typed(self, values: Sequence[str]) -> str:
        return f"({', '.join(values)} : {', '.join(self.types[v] for v in values)})" if values else "()"

    def constant(self, name: str, array: np.ndarray) -> str:
        type_ = tensor(1 if array.dtype == np.bool_ else 8 * array.itemsize, *array.shape)
        return self.value(name, type_, f"arith.constant dense<{str(array.tolist()).lower()}> : {type_}")

    def empty(self, bits: int, *shape: int) -> str:
        type_ = tensor(bits, *shape)
        return self.value(f"empty{len(self.types)}", type_, f"tensor.empty() : {type_}")

    def filled(self, value: int, bits: int, *shape: int) -> str:
        empty, number = self.empty(bits, *shape), len(self.types)
        self.lines.append(f"%c{number} = arith.constant {value} : i{bits}")
        text = f"linalg.fill ins(%c{number} : i{bits}) outs{self.typed([empty])} -> {self.types[empty]}"
        return self.value(f"filled{number}", self.types[empty], text)

    def zeros(self, *shape: int) -> str:
        """Start values of 32-bit sums."""
        return self.filled(0, 32, *shape)

    def pad(self, name: str, x: str, low: list[int], high: list[int]) -> str:
        shape, bits = self.shape(x)
        type_ = tensor(bits, *(a + n + b for a, n, b in zip(low, shape, high, strict=True)))
        indices = ", ".join(f"%i{d}: index" for d in range(len(shape)))
        body = f"{{\n^bb0({indices}):\n  tensor.yield %zero{bits} : i{bits}\n}}"
        return self.value(name, type_, f"tensor.pad {x} low{low} high{high} {body} : {self.types[x]} to {type_}")

    def cut(self, name: str, x: str, offsets: list[int], sizes: list[int], strides: list[int] | None = None) -> str:
        type_ = tensor(self.shape(x)[1], *sizes)
        place = f"{offsets} {sizes} {strides or [1] * len(sizes)}"
        return self.value(name, type_, f"tensor.extract_slice {x}{place} : {self.types[x]} to {type_}")

    def paste(self, name: str, part: str, whole: str, offsets: list[int], strides: list[int]) -> str:
        place = f"{offsets} {self.shape(part)[0]} {strides}"
        types = f"{self.types[part]} into {self.types[whole]}"
        return self.value(name, self.types[whole], f"tensor.insert_slice {part} into {whole}{place} : {types}")

    def generic(
        self, name: str, ins: Sequence[str], outs: Sequence[str], loops: str, places: str, body: str, at: str = ""
    ) -> str:
        """A linalg.generic.

        Args:
            name: of its result; further ones are called name2, ...
            ins: inputs.
            outs: initial values.
            loops: names of the loops, with an `!` behind those that reduce: "h w k!".
            places: per input and output its indices over the loops, divided by semicolons.
            body: ops; the arguments are called %0, %1, ..., the values made here begin with an underscore.
            at: its location, where that is not the name.
        """
        dims = ", ".join(loops.replace("!", "").split())
        maps = ", ".join(f"affine_map<({dims}) -> ({r})>" for r in places.split(";"))
        kinds = ", ".join('"reduction"' if loop.endswith("!") else '"parallel"' for loop in loops.split())
        elements = [f"i{self.shape(v)[1]}" for v in (*ins, *outs)]
        arguments = ", ".join(f"%{i}: {e}" for i, e in enumerate(elements))
        names = [f"%{name}", *(f"%{name}{i + 1}" for i in range(1, len(outs)))]
        results = ", ".join(self.types[o] for o in outs)
        self.lines.append(
            f"{', '.join(names)} = linalg.generic {{indexing_maps = [{maps}], iterator_types = [{kinds}]}} "
            f"ins{self.typed(ins)} outs{self.typed(outs)} {{\n^bb0({arguments}):{body}\n}} -> "
            f'{results if len(outs) == 1 else f"({results})"} loc("{at or name}")'
        )
        self.types |= {n: self.types[o] for n, o in zip(names, outs, strict=True)}
        return names[0]

    def shape(self, value: str) -> tuple[list[int], int]:
        """Shape and bits per element."""
        *shape, element = self.types[value].removeprefix("tensor<").removesuffix(">").split("x")
        return [int(n) for n in shape], int(element.removeprefix("i"))

    def module(self, *results: str) -> ir.Module:
        types = ", ".join(self.types[r] for r in results)
        lines = "\n".join(self.lines)
        text = f"func.func @main(%image: {self.types['%image']}) -> ({types}) {{\n{lines}\n"
        return ir.Module.parse(f"{text}return {', '.join(results)} : {types}\n}}", make_context())


def schedule(module: ir.Module, pe: str) -> ir.Module:
    """Linalg to scheduled affine."""
    PassManager.parse(f"gradcam-set-platform{{pe={pe}}},fuse-epilogues,canonicalize,cse").run(module)
    for level in ("affine", "scheduled"):
        pipeline_for(level, Settings(None, pe=pe)).run(module)
    return module


def write_design(scheduled: ir.Module, pe: str, folder: Path) -> Program:
    """The output folder that a compile would leave, as far as a simulation needs it; returns the program."""
    for part in ("rtl", "mem"):
        (folder / part).mkdir(parents=True)
    view = ScheduledProgram(scheduled)
    program = describe_program(view, memories=write_memories(view, folder))
    hardware = pipeline_for("hw", Settings(None, pe=pe)).run(scheduled)
    design = pipeline_for("verilog", Settings(None, pe=pe)).run(hardware)
    program = msgspec.structs.replace(program, rtl=write_rtl(design, folder / "rtl"))
    write(folder / "program.json", program)
    return program
