"""Integer semantics of every quantized op, worked out by hand, and against float64 arithmetic with exact scales."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_mlir import ir

from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.reference.integer import _sums, run_integer

I8 = "!quant.uniform<i8:f32, {}>"
I32 = "!quant.uniform<i32:f32, {}>"
CONV = "stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1, operandSegmentSizes = array<i32: 1, 1, 0>"


def tensor(shape, element):
    return f"tensor<{shape}x{element}>"


def run(text, image):
    """Executes `text` on an int8 image given as a nested list CxHxW; its first result without the batch."""
    with make_context():
        module = ir.Module.parse(text)
        assert module.operation.verify()
        return run_integer(module, np.array([image], np.int8))[0][0]


def unary(op, attributes, x_type, y_type):
    return f"""func.func @main(%x: {x_type}) -> {y_type} {{
  %y = "gradcam.{op}"(%x) {{{attributes}}} : ({x_type}) -> {y_type}
  return %y : {y_type} }}"""


def conv(x_type, w, w_type, y_type, bias=None, attributes=CONV):
    """Convolution of %x; `w` and `bias` are the texts of dense attributes, `w_type` the quantized weight's type."""
    storage = w_type[: w_type.index("!")] + "i8>"
    lines = [
        f"func.func @main(%x: {x_type}) -> {y_type} {{",
        f"%cw = arith.constant dense<{w}> : {storage}",
        f"%w = quant.scast %cw : {storage} to {w_type}",
    ]
    names, types = "%x, %w", f"{x_type}, {w_type}"
    if bias is not None:
        values, b_type = bias
        storage = b_type[: b_type.index("!")] + "i32>"
        lines += [f"%cb = arith.constant dense<{values}> : {storage}", f"%b = quant.scast %cb : {storage} to {b_type}"]
        names, types, attributes = f"{names}, %b", f"{types}, {b_type}", attributes.replace("1, 1, 0>", "1, 1, 1>")
    lines.append(f'%y = "gradcam.conv2d"({names}) {{{attributes}}} : ({types}) -> {y_type}')
    return "\n".join([*lines, f"return %y : {y_type} }}"])


def test_conv_rounds_ties_up_and_saturates_both_ends():
    x, w = tensor("1x1x1x6", I8.format(0.5)), tensor("1x1x1x1", I8.format(0.5))
    y = tensor("1x1x1x6", I8.format(0.5))
    # acc = 3x at scale 0.25; times 1/2: 1.5 x.
    text = conv(x, "3", w, y)
    assert run(text, [[[-1, 1, -3, 3, 100, -100]]]).tolist() == [[[-1, 2, -4, 5, 127, -128]]]


def test_conv_per_channel_scales_and_bias():
    x, y = tensor("1x1x1x1", I8.format(1.0)), tensor("1x2x1x1", I8.format(1.0))
    w = tensor("2x1x1x1", "!quant.uniform<i8:f32:0, {0.5, 0.125}>")
    bias = ("[7, -16]", tensor("2", "!quant.uniform<i32:f32:0, {0.5, 0.125}>"))
    # (10 * 4 + 7) / 2 = 23.5 and (10 * 8 - 16) / 8 = 8.
    assert run(conv(x, "[[[[4]]], [[[8]]]]", w, y, bias), [[[10]]]).ravel().tolist() == [24, 8]


def test_conv_in_32_bits_is_not_saturated():
    x, w = tensor("1x1x1x2", I8.format(0.5)), tensor("1x1x1x1", I8.format(0.5))
    y = tensor("1x1x1x2", I32.format(0.125))
    assert run(conv(x, "100", w, y), [[[100, -100]]]).tolist() == [[[20000, -20000]]]


def test_conv_at_the_accumulator_scale_is_the_accumulator():
    x, w = tensor("1x1x1x2", I8.format(0.3)), tensor("1x1x1x1", I8.format(0.7))
    y = tensor("1x1x1x2", I32.format(0.21))
    assert run(conv(x, "101", w, y), [[[103, -127]]]).tolist() == [[[10403, -12827]]]


def test_conv_stride_padding_dilation_differ_by_axis():
    # Rows: stride 1, padding 1, dilation 1. Columns: stride 2, padding 0, dilation 2.
    x, w = tensor("1x1x2x5", I8.format(1.0)), tensor("1x1x2x2", I8.format(1.0))
    y = tensor("1x1x3x2", I8.format(1.0))
    attributes = "stride = [1, 2], padding = [1, 0], dilation = [1, 2], groups = 1, "
    attributes += "operandSegmentSizes = array<i32: 1, 1, 0>"
    text = conv(x, "[[[[1, 2], [3, 4]]]]", w, y, attributes=attributes)
    # y[0, 0] = 3 x[0, 0] + 4 x[0, 2]
    # y[1, 0] = x[0, 0] + 2 x[0, 2] + 3 x[1, 0] + 4 x[1, 2]
    # y[2, 0] = x[1, 0] + 2 x[1, 2]
    result = run(text, [[[1, 9, 2, 9, 3], [4, 9, 5, 9, 6]]])
    assert result.tolist() == [[[11, 18], [5 + 32, 8 + 39], [14, 17]]]


@given(
    st.lists(st.integers(1, 3), min_size=8, max_size=8),
    st.lists(st.integers(0, 2), min_size=2, max_size=2),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=25, deadline=None)
def test_conv_accumulators_equal_torch(sizes, padding, seed):
    c, o, kh, kw, sh, sw, dh, dw = sizes
    rng = np.random.default_rng(seed)
    x, w = rng.integers(-128, 128, (c, 8, 9)), rng.integers(-127, 128, (o, c, kh, kw))
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(x[None]).double(), torch.from_numpy(w).double(), None, (sh, sw), tuple(padding), (dh, dw)
    )[0].numpy()
    x_type, w_type = tensor(f"1x{c}x8x9", I8.format(1.0)), tensor(f"{o}x{c}x{kh}x{kw}", I8.format(1.0))
    y_type = tensor(f"1x{o}x{expected.shape[1]}x{expected.shape[2]}", I32.format(1.0))
    attributes = f"stride = [{sh}, {sw}], padding = {padding}, dilation = [{dh}, {dw}], groups = 1, "
    attributes += "operandSegmentSizes = array<i32: 1, 1, 0>"
    text = conv(x_type, str(w.tolist()), w_type, y_type, attributes=attributes)
    np.testing.assert_array_equal(run(text, x.tolist()), expected)


def test_avg_pool_accumulates_beyond_int8():
    x, y = tensor("1x1x4x4", I8.format(0.5)), tensor("1x1x1x1", I8.format(0.5))
    attributes = "kernel = [4, 4], stride = [1, 1], padding = [0, 0], dilation = [1, 1], count_include_pad = true"
    text = unary("avg_pool2d", attributes, x, y)
    assert run(text, np.full((1, 4, 4), 127)).item() == 127
    assert run(text, np.full((1, 4, 4), -128)).item() == -128
    values = np.full((1, 4, 4), 3)
    values[0, 0, :2] = 101  # 14 * 3 + 202 = 244; / 16 = 15.25
    assert run(text, values).item() == 15


def test_avg_pool_counts_padding():
    x, y = tensor("1x1x2x2", I8.format(0.5)), tensor("1x1x2x2", I8.format(0.25))
    attributes = "kernel = [2, 2], stride = [2, 2], padding = [1, 1], dilation = [1, 1], count_include_pad = true"
    # One element per window: x / 4 at half the scale is x / 2, ties up.
    assert run(unary("avg_pool2d", attributes, x, y), [[[10, 7], [-7, -128]]]).tolist() == [[[5, 4], [-3, -64]]]


def test_max_pool_padding_never_wins():
    x = y = tensor("1x1x2x2", I8.format(0.5))
    attributes = "kernel = [2, 2], stride = [2, 2], padding = [1, 1], dilation = [1, 1]"
    assert run(unary("max_pool2d", attributes, x, y), [[[-5, -6], [-7, -128]]]).tolist() == [[[-5, -6], [-7, -128]]]


def test_relu_and_clamp():
    x = tensor("1x1x1x4", I8.format(0.05))
    assert run(unary("relu", "", x, x), [[[-3, 0, 4, 127]]]).tolist() == [[[0, 0, 4, 127]]]
    bounds = "lo = -1.0 : f64, hi = 2.0 : f64"
    assert run(unary("clamp", bounds, x, x), [[[-30, -20, 40, 127]]]).tolist() == [[[-20, -20, 40, 40]]]
    # 6 / 0.04 = 150 is beyond int8: the storage saturates first.
    x = tensor("1x1x1x2", I8.format(0.04))
    assert run(unary("clamp", "lo = 0.0 : f64, hi = 6.0 : f64", x, x), [[[-1, 127]]]).tolist() == [[[0, 127]]]


def test_add_rescales_each_operand_to_the_result():
    x, z = tensor("1x1x1x3", I8.format(0.5)), tensor("1x1x1x3", I8.format(1.0))
    text = f"""func.func @main(%x: {x}) -> {z} {{
  %z = "gradcam.add"(%x, %x) : ({x}, {x}) -> {z}
  return %z : {z} }}"""
    # Each operand is rounded on its own: 3 / 2 -> 2, twice.
    assert run(text, [[[3, -3, 127]]]).tolist() == [[[4, -2, 127]]]
    same = text.replace(z, x)
    assert run(same, [[[3, -100, 100]]]).tolist() == [[[6, -128, 127]]]


EXPLAINED = """func.func @main(%x: tensor<1x2x1x2x!quant.uniform<i8:f32, 0.5>>, %class: tensor<1xi32>)
    -> (tensor<1x3x!quant.uniform<i32:f32, 0.125>>, tensor<1x1x2x!quant.uniform<i32:f32, 0.0625>>) {
  %cw = arith.constant dense<[[1, 2], [3, -4], [3, -4]]> : tensor<3x2xi8>
  %w = quant.scast %cw : tensor<3x2xi8> to tensor<3x2x!quant.uniform<i8:f32, 0.25>>
  %p = "gradcam.avg_pool2d"(%x) {kernel = [1, 2], stride = [1, 1], padding = [0, 0], dilation = [1, 1],
    count_include_pad = true} : (tensor<1x2x1x2x!quant.uniform<i8:f32, 0.5>>)
    -> tensor<1x2x1x1x!quant.uniform<i8:f32, 0.5>>
  %f = "gradcam.flatten"(%p) : (tensor<1x2x1x1x!quant.uniform<i8:f32, 0.5>>) -> tensor<1x2x!quant.uniform<i8:f32, 0.5>>
  %l = "gradcam.linear"(%f, %w) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2x!quant.uniform<i8:f32, 0.5>>,
    tensor<3x2x!quant.uniform<i8:f32, 0.25>>) -> tensor<1x3x!quant.uniform<i32:f32, 0.125>>
  %c = "gradcam.select_class"(%l, %class) : (tensor<1x3x!quant.uniform<i32:f32, 0.125>>, tensor<1xi32>) -> tensor<1xi32>
  %r = "gradcam.class_row"(%w, %c) : (tensor<3x2x!quant.uniform<i8:f32, 0.25>>, tensor<1xi32>)
    -> tensor<1x2x!quant.uniform<i8:f32, 0.25>>
  %m = "gradcam.weighted_sum"(%r, %x) : (tensor<1x2x!quant.uniform<i8:f32, 0.25>>,
    tensor<1x2x1x2x!quant.uniform<i8:f32, 0.5>>) -> tensor<1x1x2x!quant.uniform<i32:f32, 0.125>>
  %h = "gradcam.scale"(%m) {factor = 0.5 : f64} : (tensor<1x1x2x!quant.uniform<i32:f32, 0.125>>)
    -> tensor<1x1x2x!quant.uniform<i32:f32, 0.0625>>
  return %l, %h : tensor<1x3x!quant.uniform<i32:f32, 0.125>>, tensor<1x1x2x!quant.uniform<i32:f32, 0.0625>>
}"""


@pytest.mark.parametrize(("cls", "heatmap"), [(-1, [270, 490]), (0, [-10, 30]), (2, [270, 490])])
def test_explanation_by_hand(cls, heatmap):
    image = np.array([[[[50, 110]], [[-30, -40]]]], np.int8)  # means 80 and -35
    with make_context():
        logits, map_ = run_integer(ir.Module.parse(EXPLAINED), image, cls)
    assert logits.dtype == map_.dtype == np.int32
    assert logits.tolist() == [[80 - 70, 240 + 140, 240 + 140]]  # classes 1 and 2 tie: the first is explained
    assert map_.tolist() == [[heatmap]]


def test_first_maximum_wins():
    text = EXPLAINED.replace("[[1, 2], [3, -4], [3, -4]]", "[[3, -4], [1, 2], [3, -4]]")
    seen = []
    with make_context():
        run_integer(
            ir.Module.parse(text),
            np.array([[[[50, 110]], [[-30, -40]]]], np.int8),
            on_value=lambda op, _i, value: seen.append(value) if op.name == "gradcam.select_class" else None,
        )
    assert [v.tolist() for v in seen] == [[0]]


def test_bad_inputs():
    with make_context():
        module = ir.Module.parse(EXPLAINED)
        image = np.zeros((1, 2, 1, 2), np.int8)
        with pytest.raises(GradcamError, match="class 3 does not exist; the model has classes 0 to 2"):
            run_integer(module, image, 3)
        with pytest.raises(GradcamError, match="must be int8, got float32"):
            run_integer(module, image.astype(np.float32))
        with pytest.raises(GradcamError, match="must have shape"):
            run_integer(module, image[:, :1])
        plain = ir.Module.parse(unary("relu", "", "tensor<1x1x1x1xf32>", "tensor<1x1x1x1xf32>"))
        with pytest.raises(GradcamError, match="not quantized; run gradcam-quantize first"):
            run_integer(plain, image)


def test_accumulator_overflow_is_an_error_not_a_wrong_number():
    x = tensor("1x1x1x1", I8.format(1.0))
    w, y = tensor("1x1x1x1", I8.format(1.0)), tensor("1x1x1x1", I32.format(1.0))
    bias = ("2147483647", tensor("1", I32.format(1.0)))
    text = conv(x, "1", w, y, bias)
    assert run(text, [[[0]]]).item() == 2**31 - 1
    with pytest.raises(GradcamError, match="leaves the range of its 32-bit accumulator"):
        run(text, [[[1]]])


@pytest.mark.parametrize("terms", [1, 1024, 1025, 4608])
def test_sums_of_products_are_exact_at_the_extremes(terms):
    rng = np.random.default_rng(terms)
    for a, b in [(-128, -128), (127, 127), (-128, 127)]:
        rows, columns = np.full((2, terms), a, np.int8), np.full((terms, 3), b, np.int8)
        rows[1] = rng.integers(-128, 128, terms)
        expected = rows.astype(np.int64) @ columns.astype(np.int64)
        np.testing.assert_array_equal(_sums(rows, columns), expected)
        np.testing.assert_array_equal(_sums(rows.astype(np.int32), columns), expected)


def test_float32_alone_would_not_be_exact():
    rows, columns = np.full((1, 4608), 127, np.int8), np.full((4608, 1), 127, np.int8)
    rows[0, 0] = 126
    rounded = rows.astype(np.float32) @ columns.astype(np.float32)
    assert int(rounded.item()) != 4608 * 127**2 - 127 == _sums(rows, columns).item()
