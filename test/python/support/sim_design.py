"""A design written by hand: the output folder that a compile would leave, and the module that says what it computes.

The network: relu, global average pool (its scale makes it a saturated sum of 2x2), linear to three classes, and the
class activation map of the relu. Four lanes; the RTL is behavioural and takes one step per cycle.
"""

import hashlib
from itertools import accumulate
from pathlib import Path

import numpy as np
from torch_mlir import ir

from gradcam.dialect import make_context
from gradcam.images import Preprocessing
from gradcam.schema.document import write
from gradcam.schema.program import (
    Bank,
    Buffer,
    Core,
    Cycles,
    Explanation,
    Input,
    Memory,
    Nest,
    Program,
    Stream,
    WordReads,
)
from gradcam.schema.report import Report

CLASSES, CHANNELS, SIZE = 3, 4, 2
SCALES = {"image": 0.5, "logits": 0.03125, "heatmap": 0.125}
STEPS = {"image": 4, "relu": 4, "avgpool": 4, "fc": 1, "class": 1, "map": 4, "logits": 3, "heatmap": 4}
PHASES = ["load", "inference", "inference", "inference", "explanation", "explanation", "store", "store"]
WRITES = ["image", "relu", "avgpool", "fc", "explain", "explain.1"]
READS = [(), ("image",), ("relu",), ("avgpool",), ("fc",), ("relu",), ("fc",), ("explain.1", "explain")]

TOP = """module gradcam_top(
  input clk, rst, start, output busy, done, output [2:0] nest, output reg running,
  input [31:0] class_select,
  input image_valid, input [31:0] image_data, output image_ready,
  output logits_valid, output [31:0] logits_data, input logits_ready,
  output heatmap_valid, output [31:0] heatmap_data, input heatmap_ready);
  reg done_q; reg [2:0] nest_q; reg [1:0] i; reg [31:0] class_q, register0;
  wire [31:0] x; wire [127:0] sums, w; wire [127:0] dot;
  reg [9:0] total [0:3];
  wire moves = nest_q == 0 ? image_valid : nest_q == 6 ? logits_ready : nest_q == 7 ? heatmap_ready : 1'b1;
  wire [1:0] final_i = nest_q == 3 || nest_q == 4 ? 2'd0 : nest_q == 6 ? 2'd2 : 2'd3;
  wire last = moves && i == final_i;
  reg [31:0] y;
  reg signed [31:0] best; reg [31:0] arg;
  always_comb begin
    y = image_data;
    for (int l = 0; l < 4; l++) begin
      if (nest_q == 1) y[8*l +: 8] = x[8*l+7] ? 8'd0 : x[8*l +: 8];
      if (nest_q == 2) y[8*l +: 8] = total[l] + {2'd0, x[8*l +: 8]} > 127 ? 8'd127 : total[l][7:0] + x[8*l +: 8];
    end
    best = 32'sh80000000; arg = 0;
    for (int k = 0; k < 3; k++)
      if ($signed(sums[32*k +: 32]) > best) begin best = sums[32*k +: 32]; arg = k; end
  end
  for (genvar k = 0; k < 4; k++) begin : rows
    assign dot[32*k +: 32] = product(w[32*k +: 32], x);
  end
  function automatic [31:0] product(input [31:0] a, input [31:0] b);
    product = 0;
    for (int l = 0; l < 4; l++)
      product += 32'($signed(a[8*l +: 8])) * 32'($signed(b[8*l +: 8]));
  endfunction
  bank0 bank0(.clk, .wen(running && (nest_q < 2 || nest_q == 2 && i == 3) && moves),
    .waddr({nest_q[1:0], i & {2{nest_q != 2}}}), .wdata(y),
    .raddr(nest_q == 3 ? 4'd8 : {1'b0, nest_q != 1, i}), .rdata(x));
  bank1 bank1(.clk, .wen(running && (nest_q == 3 || nest_q == 5)), .waddr(nest_q == 3 ? 3'd0 : {1'b0, i} + 3'd1),
    .wdata(dot), .raddr(nest_q == 7 ? {1'b0, i} + 3'd1 : 3'd0), .rdata(sums));
  weights weights(.rdata(w));
  assign busy = running; assign done = done_q; assign nest = nest_q;
  assign image_ready = running && nest_q == 0;
  assign logits_valid = running && nest_q == 6; assign logits_data = sums[32*i +: 32];
  assign heatmap_valid = running && nest_q == 7; assign heatmap_data = sums[32*register0[1:0] +: 32];
  always_ff @(posedge clk) begin
    done_q <= !rst && running && last && nest_q == 7;
    if (rst) running <= 0;
    else if (!running && start) begin running <= 1; nest_q <= 0; i <= 0; class_q <= class_select; end
    else if (running && moves) begin
      i <= last ? 0 : i + 1;
      if (last) begin nest_q <= nest_q + 1; running <= nest_q != 7; end
      if (nest_q == 2) for (int l = 0; l < 4; l++) total[l] <= total[l] + {2'd0, x[8*l +: 8]};
      else for (int l = 0; l < 4; l++) total[l] <= 0;
      if (nest_q == 4) register0 <= $signed(class_q) < 0 ? arg : class_q;
    end
  end
endmodule
"""

BANK = """module {name}(input clk, wen, input [{address}:0] waddr, raddr,
  input [{bits}:0] wdata, output [{bits}:0] rdata);
  reg [{bits}:0] memory [0:{last}];
  always_ff @(posedge clk) if (wen) memory[waddr] <= wdata;
  assign rdata = memory[raddr];
endmodule
"""

WEIGHTS = """module weights(output [127:0] rdata);
  reg [127:0] memory [0:0];
  initial $readmemh("mem/weights.hex", memory);
  assign rdata = memory[0];
endmodule
"""

MODULE = """
!x = tensor<1x4x2x2x!quant.uniform<i8:f32, 0.5>>
!p = tensor<1x4x1x1x!quant.uniform<i8:f32, 0.125>>
!f = tensor<1x4x!quant.uniform<i8:f32, 0.125>>
!w = tensor<3x4x!quant.uniform<i8:f32, 0.25>>
!r = tensor<1x4x!quant.uniform<i8:f32, 0.25>>
!l = tensor<1x3x!quant.uniform<i32:f32, 0.03125>>
!m = tensor<1x2x2x!quant.uniform<i32:f32, 0.125>>
func.func @main(%image: !x, %class: tensor<1xi32>) -> (!l, !m) {{
  %c = arith.constant dense<{weights}> : tensor<3x4xi8>
  %w = quant.scast %c : tensor<3x4xi8> to !w
  %a = "gradcam.relu"(%image) : (!x) -> !x loc("relu")
  %p = "gradcam.avg_pool2d"(%a) {{kernel = [2, 2], stride = [1, 1], padding = [0, 0], dilation = [1, 1],
                                  count_include_pad = true}} : (!x) -> !p loc("avgpool")
  %f = "gradcam.flatten"(%p) : (!p) -> !f loc("flatten")
  %l = "gradcam.linear"(%f, %w) {{operandSegmentSizes = array<i32: 1, 1, 0>}} : (!f, !w) -> !l loc("fc")
  %k = "gradcam.select_class"(%l, %class) : (!l, tensor<1xi32>) -> tensor<1xi32> loc("explain")
  %r = "gradcam.class_row"(%w, %k) : (!w, tensor<1xi32>) -> !r loc("explain")
  %m = "gradcam.weighted_sum"(%r, %a) : (!r, !x) -> !m loc("explain")
  return %l, %m : !l, !m
}}
"""


def random_weights(seed: int = 0) -> np.ndarray:
    """int8, classes x channels."""
    return np.random.default_rng(seed).integers(-127, 128, (CLASSES, CHANNELS)).astype(np.int8)


def random_images(count: int, seed: int = 0) -> np.ndarray:
    """int8, count x channels x height x width; small enough for a pool that does not always saturate."""
    return np.random.default_rng(seed).integers(-60, 61, (count, CHANNELS, SIZE, SIZE)).astype(np.int8)


def quantized_module(weights: np.ndarray) -> ir.Module:
    """What the design computes."""
    return ir.Module.parse(MODULE.format(weights=weights.tolist()), make_context())


def write_design(folder: Path, weights: np.ndarray, top: str = TOP) -> Path:
    """Writes the output folder of a compile; `top` may replace the top module."""
    for name in ("rtl", "mem", "ir"):
        (folder / name).mkdir(parents=True)
    rtl = {
        "gradcam_top": top,
        "bank0": BANK.format(name="bank0", address=3, bits=31, last=15),
        "bank1": BANK.format(name="bank1", address=2, bits=127, last=7),
        "weights": WEIGHTS,
    }
    for name, text in rtl.items():
        (folder / "rtl" / f"{name}.sv").write_text(text)
    padded = np.zeros((4, CHANNELS), np.int8)
    padded[:CLASSES] = weights
    (folder / "mem/weights.hex").write_text(padded.tobytes()[::-1].hex() + "\n")
    with (folder / "ir/quantized.mlirbc").open("wb") as file:
        quantized_module(weights).operation.write_bytecode(file)
    program = _program(folder)
    write(folder / "program.json", program)
    write(folder / "report.json", _report(program))
    return folder


def predicted_cycles() -> Cycles:
    """One cycle per step."""
    cycles = dict.fromkeys(("load", "inference", "explanation", "store"), 0)
    for phase, steps in zip(PHASES, STEPS.values(), strict=True):
        cycles[phase] += steps
    return Cycles(**cycles, total=sum(cycles.values()))


def _report(program: Program) -> Report:
    """What a simulation hands on, and no figures."""
    return Report(
        model="by hand",
        pe="4x4",
        multipliers=16,
        macs=0,
        cycles=predicted_cycles(),
        overhead=0.0,
        utilization=0.0,
        memory_bytes={},
        block_rams={},
        packet_bytes={},
        activation_bytes=0,
        word_reads=WordReads(0, 0),
        multiplications={},
        layers=(),
        rounding=(),
        passes=(),
        bits={},
        explains=program.maps,
        quality=None,
    )


def _program(folder: Path) -> Program:
    def checksums(pattern: str) -> dict[str, str]:
        paths = sorted(folder.glob(pattern))
        return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}

    def buffer(name: str, bits: int, bank: str, offset: int, shape: tuple[int, ...]) -> Buffer:
        return Buffer(name, shape, bits, bank, offset, None, None, None)

    # The nests "class" and "map" come from one op of the model, "explain".
    tensors = ["explain" if name in ("class", "map") else name for name in STEPS]
    writes = [(name,) for name in WRITES] + [(), ()]
    ends = list(accumulate(STEPS.values()))
    facts = zip(tensors, PHASES, STEPS.values(), ends, READS, writes, strict=True)
    explanation = Explanation("relu", 0, "gradcam", True, True, 1e-7)
    return Program(
        top="gradcam_top",
        preprocessing=Preprocessing.of(),
        streams=(
            Stream("image", "in", (SIZE, SIZE, CHANNELS), 8, 4, SCALES["image"], None),
            Stream("logits", "out", (CLASSES,), 32, 1, SCALES["logits"], None),
            Stream("heatmap", "out", (SIZE, SIZE), 32, 1, SCALES["heatmap"], explanation),
        ),
        ports=(Input("class_select", 32),),
        nests=tuple(
            Nest(
                name=name,
                engine="all",
                epilogue="0",
                phase=phase,
                products=0,
                trips=(steps,),
                start=end - steps,
                end=end,
                drain=0,
                cycles=steps,
                reads=read,
                writes=written,
                word_reads=WordReads(0, 0),
                follows=None,
                stationary=None,
                weights=None,
            )
            for name, phase, steps, end, read, written in facts
        ),
        buffers=(
            buffer("image", 8, "bank0", 0, (SIZE, SIZE, 4)),
            buffer("relu", 8, "bank0", 4, (SIZE, SIZE, 4)),
            buffer("avgpool", 8, "bank0", 8, (1, 1, 4)),
            buffer("fc", 32, "bank1", 0, (1, 1, 4)),
            Buffer("explain", (1,), 32, None, 0, "register0", None, None),
            buffer("explain.1", 32, "bank1", 1, (SIZE, SIZE, 4)),
        ),
        banks={
            "bank0": Bank(4, 8, False, 1, (16,), (Memory(16, 4, "block", 0.5),)),
            "bank1": Bank(4, 32, False, 1, (8,), (Memory(8, 4, "block", 0.5),)),
            "weights": Bank(16, 8, True, 1, (1,), (Memory(1, 16, "block", 0.5),)),
        },
        dram=None,
        clock_ns=None,
        core=Core("gradcam_core", (), {}, 0, 4, 1),
        memories=checksums("mem/*.hex"),
        rtl=checksums("rtl/*.sv"),
    )
