"""Folding kernel columns into channels keeps every integer."""

import numpy as np
import pytest
from torch_mlir import ir

from gradcam.dialect import make_context
from gradcam.passes.fold_columns import FoldColumns
from gradcam.reference.integer import KERNELS
from gradcam.reference.interpreter import run

CASES = [
    # channels, out, kernel, stride, padding, dilation, height, width
    (3, 16, (3, 3), (1, 1), (1, 1), (1, 1), 7, 9),
    (3, 20, (3, 3), (2, 2), (1, 1), (1, 1), 8, 11),
    (1, 5, (5, 4), (2, 3), (2, 1), (1, 1), 12, 13),
    (2, 8, (3, 3), (1, 2), (2, 2), (2, 2), 10, 10),
    (3, 16, (7, 5), (2, 2), (3, 2), (1, 1), 15, 14),
]


def module_text(case):
    channels, out, kernel, stride, padding, dilation, height, width = case
    rng = np.random.default_rng(sum(kernel) + channels)
    axes = zip((height, width), kernel, stride, padding, dilation, strict=True)
    size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]
    x = f"tensor<1x{channels}x{height}x{width}x!quant.uniform<i8:f32, 0.5>>"
    y = f"tensor<1x{out}x{size[0]}x{size[1]}x!quant.uniform<i8:f32, 8.0>>"
    stored = f"tensor<{out}x{channels}x{kernel[0]}x{kernel[1]}xi8>"
    scales = ", ".join(f"{s:.6e}" for s in rng.uniform(0.05, 0.2, out))
    w = stored.replace("xi8>", f"x!quant.uniform<i8:f32:0, {{{scales}}}>>")
    values = rng.integers(-127, 128, (out, channels, *kernel)).tolist()
    pair = {n: f"[{v[0]}, {v[1]}]" for n, v in (("stride", stride), ("padding", padding), ("dilation", dilation))}
    attributes = ", ".join(f"{n} = {v}" for n, v in pair.items()) + ", groups = 1 : i64"
    return f"""func.func @main(%x: {x}) -> {y} {{
      %c = arith.constant dense<{values}> : {stored}
      %w = "quant.scast"(%c) : ({stored}) -> {w}
      %y = "gradcam.conv2d"(%x, %w) {{operandSegmentSizes = array<i32: 1, 1, 0>, {attributes}}}
        : ({x}, {w}) -> {y}
      return %y : {y}
    }}"""


def convolutions(module):
    return [o for o in module.body.operations[0].entry_block.operations if o.operation.name == "gradcam.conv2d"]


@pytest.mark.parametrize("case", CASES)
def test_folded_convolution_gives_the_same_integers(case):
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(module_text(case))
        x = np.random.default_rng(1).integers(-128, 128, (1, case[0], case[6], case[7])).astype(np.int8)
        before = run(module, [x], KERNELS)[0]
        FoldColumns(pe="16x16").run(module)
        module.operation.verify()
        assert len(convolutions(module)) == 2, "the case is one where folding pays"
        assert np.array_equal(run(module, [x], KERNELS)[0], before)
        assert len(np.unique(before)) > 20, "the comparison is about real values"


def test_a_weight_moved_to_the_wrong_column_is_caught():
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(module_text(CASES[0]))
        x = np.random.default_rng(1).integers(-128, 128, (1, 3, 7, 9)).astype(np.int8)
        before = run(module, [x], KERNELS)[0]
        FoldColumns().run(module)
        source = convolutions(module)[1].w.owner.operands[0].owner
        rolled = np.roll(np.array(source.attributes["value"]), 1, axis=1)
        source.attributes["value"] = ir.DenseElementsAttr.get(rolled, type=source.results[0].type)
        assert not np.array_equal(run(module, [x], KERNELS)[0], before)
