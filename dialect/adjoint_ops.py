"""Adjoint ops: the transposed Jacobian of a forward op, applied to the gradient `g` at its output."""

import math
from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import ext

from gradcam.dialect.gradcam import GradCAM
from gradcam.dialect.ops import check_conv, check_pool
from gradcam.dialect.traits import (
    AlignsOperands,
    ChannelAffine,
    Elementwise,
    Gradient,
    KeepsScale,
    LinearInFirst,
    Product,
    Rowwise,
    Slope,
    Sum,
    Unscaled,
)
from gradcam.dialect.verify import (
    check_slope,
    ints,
    is_padded,
    rank,
    require,
    result_shape,
    shape,
    tensor,
    verifier,
    window,
)

#: Taps of the largest window whose tap numbers fit 8 bits.
MAX_TAPS = 256


class LinearAdjointOp(
    GradCAM.Operation,
    name="linear_adjoint",
    traits=[ext.Pure, Gradient(), LinearInFirst(), Rowwise(), Product(transposed=True)],
):
    """gx = g w. g: 1xO, w: OxI, gx: 1xI."""

    g: ext.Operand[Any]
    w: ext.Operand[Any]
    gx: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        out, features = rank(op.operands[1], 2, "weight")
        require(shape(op.operands[0]) == [1, out], f"gradient must be 1x{out}, got {op.operands[0].type}")
        result_shape(op, [1, features])


class Conv2dAdjointOp(
    GradCAM.Operation,
    name="conv2d_adjoint",
    traits=[ext.Pure, Gradient(), LinearInFirst(), Rowwise(), Product(transposed=True)],
):
    """Transposed convolution: gx[c, h*stride + i*dilation - padding, ...] += w[o,c,i,j] * g[o,h,w].

    The attributes are the forward op's. g: 1xOxOHxOW, w: OxC/groupsxKHxKW, gx: 1xCxHxW.
    """

    g: ext.Operand[Any]
    w: ext.Operand[Any]
    stride: ir.ArrayAttr
    padding: ir.ArrayAttr
    dilation: ir.ArrayAttr
    groups: ir.IntegerAttr
    gx: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        check_conv(op, op.results[0], op.operands[1], rank(op.operands[0], 4, "gradient"))


class TapSumsOp(
    GradCAM.Operation,
    name="tap_sums",
    traits=[ext.Pure, Gradient(), LinearInFirst(), Rowwise(), Sum("map", mean=False)],
):
    """For each kernel tap, the sum of the gradients that the tap of a transposed convolution moves into its result.

    y[o, KH-1-i, KW-1-j] = sum over all h,w with 0 <= h*stride + i*dilation - padding < H, alike for w, of g[o,h,w].
    The sum of conv2d_adjoint(g, w) over its HxW result is the sum over o,i,j of the products of w with these sums. They
    are in reverse order of the taps, so that a conv2d_adjoint with one output position computes these products.
    `size` is HxW; the other attributes are the convolution's. g: 1xOxOHxOW, y: 1xOxKHxKW.
    """

    g: ext.Operand[Any]
    kernel: ir.ArrayAttr
    stride: ir.ArrayAttr
    padding: ir.ArrayAttr
    dilation: ir.ArrayAttr
    size: ir.ArrayAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _, channels, *found = rank(op.operands[0], 4, "gradient")
        kernel, size = ints(op, "kernel", 2, 1), ints(op, "size", 2, 1)
        wanted = window(op, size, kernel)
        require(found == wanted, f"gradient must be {wanted[0]}x{wanted[1]} for this size, got {op.operands[0].type}")
        result_shape(op, [1, channels, *kernel])


class ActivationAdjointOp(
    GradCAM.Operation, name="activation_adjoint", traits=[ext.Pure, Gradient(), LinearInFirst(), Elementwise()]
):
    """gx = g where the forward output lo < y < hi, else slope * g; if closed, y is the forward input, lo <= y <= hi.

    Adjoint of every op with the trait `Activation`, which gives lo, hi, slope and closed; the bounds may be infinite.
    """

    g: ext.Operand[Any]
    y: ext.Operand[Any]
    lo: ir.FloatAttr
    hi: ir.FloatAttr
    slope: ir.FloatAttr
    closed: ir.IntegerAttr
    gx: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        require(shape(op.operands[0]) == shape(op.operands[1]), "gradient and forward output must have equal shapes")
        check_slope(op)
        result_shape(op, shape(op.operands[0]))


class MaskOp(GradCAM.Operation, name="mask", traits=[ext.Pure, Slope(), Unscaled(), Elementwise()]):
    """The mask of an activation with input x, for its backward pass: y = 1 where lo < x < hi, else 0.

    If closed, y = 1 where lo <= x <= hi. lo and hi may be infinite. x: any shape, y: the same of i1.
    """

    x: ext.Operand[Any]
    lo: ir.FloatAttr
    hi: ir.FloatAttr
    closed: ir.IntegerAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _bits(op.results[0])
        result_shape(op, shape(op.operands[0]))


class ApplyMaskOp(
    GradCAM.Operation, name="apply_mask", traits=[ext.Pure, Gradient(), LinearInFirst(), KeepsScale(), Elementwise()]
):
    """gx = g where the mask is 1, else slope * g. g: any shape, mask: the same of i1."""

    g: ext.Operand[Any]
    mask: ext.Operand[Any]
    slope: ir.FloatAttr
    gx: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _bits(op.operands[1])
        require(shape(op.operands[0]) == shape(op.operands[1]), "gradient and mask must have equal shapes")
        check_slope(op)
        result_shape(op, shape(op.operands[0]))


def _bits(value: Any) -> None:
    element = tensor(value).element_type
    is_bit = isinstance(element, ir.IntegerType) and element.width == 1
    require(is_bit, f"a mask must have i1 elements, got {value.type}")


class MaxPool2dAdjointOp(GradCAM.Operation, name="max_pool2d_adjoint", traits=[ext.Pure, Gradient(), LinearInFirst()]):
    """Each gradient goes to the first maximum of its window in the forward input x; overlapping windows add up."""

    g: ext.Operand[Any]
    x: ext.Operand[Any]
    kernel: ir.ArrayAttr
    stride: ir.ArrayAttr
    padding: ir.ArrayAttr
    dilation: ir.ArrayAttr
    gx: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        check_pool(op, op.operands[1], shape(op.operands[0]))
        result_shape(op, shape(op.operands[1]))


class MaxPool2dIndexOp(GradCAM.Operation, name="max_pool2d_index", traits=[ext.Pure, Unscaled()]):
    """For each window of a max_pool2d with input x, the number of the tap with its first maximum.

    y = i * KW + j for tap (i, j), in the bits of an unsigned byte. Padding is minus infinity; for quantized x it is
    the smallest integer, so that it may be the first maximum before an element saturated to this integer. The
    attributes are the pool's. x: 1xCxHxW, y: 1xCxOHxOW of i8.
    """

    x: ext.Operand[Any]
    kernel: ir.ArrayAttr
    stride: ir.ArrayAttr
    padding: ir.ArrayAttr
    dilation: ir.ArrayAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        check_pool(op, op.operands[0], shape(op.results[0]))
        _tap_numbers(op, op.results[0])


class MaxUnpool2dOp(
    GradCAM.Operation, name="max_unpool2d", traits=[ext.Pure, Gradient(), LinearInFirst(), Sum("window", mean=False)]
):
    """Each gradient goes to the tap of its window that the index names; overlapping windows add up.

    The attributes are the pool's. g: 1xCxOHxOW, index: the same of i8, see max_pool2d_index; gx: 1xCxHxW.
    """

    g: ext.Operand[Any]
    index: ext.Operand[Any]
    kernel: ir.ArrayAttr
    stride: ir.ArrayAttr
    padding: ir.ArrayAttr
    dilation: ir.ArrayAttr
    gx: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        check_pool(op, op.results[0], shape(op.operands[0]))
        _tap_numbers(op, op.operands[1])
        require(shape(op.operands[0]) == shape(op.operands[1]), "gradient and index must have equal shapes")


def _tap_numbers(op: Any, value: Any) -> None:
    element = tensor(value).element_type
    is_byte = isinstance(element, ir.IntegerType) and element.width == 8
    require(is_byte, f"an index must have i8 elements, got {value.type}")
    taps = math.prod(ints(op, "kernel", 2, 1))
    require(taps <= MAX_TAPS, f"an index of i8 can tell {MAX_TAPS} taps apart, the kernel has {taps}")


class AvgPool2dAdjointOp(
    GradCAM.Operation,
    name="avg_pool2d_adjoint",
    traits=[ext.Pure, Gradient(), LinearInFirst(), Rowwise(), Sum("window", mean=True)],
):
    """Each gradient, divided by its window's divisor, goes to every element of the window.

    The attributes are the forward op's.
    """

    g: ext.Operand[Any]
    kernel: ir.ArrayAttr
    stride: ir.ArrayAttr
    padding: ir.ArrayAttr
    dilation: ir.ArrayAttr
    count_include_pad: ir.IntegerAttr
    gx: ext.Result[Any]

    @property
    def is_global(self) -> bool:
        """Whether the pool has a single window, which is the whole map without padding."""
        window = ints(self, "kernel", 2, 1) == shape(self.gx)[2:] and not is_padded(self)
        return window and shape(self.g)[2:] == [1, 1]

    @verifier
    def verify_invariants(op):  # noqa: D102
        check_pool(op, op.results[0], shape(op.operands[0]))


class BatchNormAdjointOp(
    GradCAM.Operation,
    name="batch_norm_adjoint",
    traits=[ext.Pure, Gradient(), LinearInFirst(), Rowwise(), ChannelAffine()],
):
    """gx = g * gamma / sqrt(var + eps), per channel. g: 1xCxHxW or 1xC, gamma, var: C, in real units at every level."""

    g: ext.Operand[Any]
    gamma: ext.Operand[Any]
    var: ext.Operand[Any]
    eps: ir.FloatAttr
    gx: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        g = op.operands[0]
        channels = rank(g, 2 if len(shape(g)) == 2 else 4, "gradient")[1]
        require(all(shape(v) == [channels] for v in list(op.operands)[1:]), f"gamma and var must have shape {channels}")
        result_shape(op, shape(op.operands[0]))


class UnflattenOp(GradCAM.Operation, name="unflatten", traits=[ext.Pure, Gradient(), LinearInFirst(), KeepsScale()]):
    """Adjoint of flatten: 1x(C*H*W) to 1xCxHxW, row-major."""

    g: ext.Operand[Any]
    gx: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _, c, h, w = rank(op.results[0], 4, "result")
        require(shape(op.operands[0]) == [1, c * h * w], f"operand must be 1x{c * h * w}, got {op.operands[0].type}")


class RequantizeOp(
    GradCAM.Operation,
    name="requantize",
    traits=[ext.Pure, Gradient(), LinearInFirst(), AlignsOperands(), Elementwise()],
):
    """y = x, a gradient with the scales and storage that the type of y gives; of unquantized tensors a copy."""

    x: ext.Operand[Any]
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        result_shape(op, shape(op.operands[0]))
