"""Ops that lay out a feature map for the processing elements; passes at level 2 insert them."""

from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import ext

from gradcam.dialect.gradcam import GradCAM
from gradcam.dialect.traits import Gradient, LinearInFirst
from gradcam.dialect.verify import ints, rank, require, result_shape, shape, verifier


def channels_per_tap(channels: int) -> int:
    """Channels of each tap of an unfolded map: a power of two, so that a tap is a slice of a word."""
    return 1 << (channels - 1).bit_length()


def lanes_of_tap(op: Any) -> int:
    """Channels of each tap of what an unfold2d makes."""
    dense = "taken" in op.attributes
    return ir.IntegerAttr(op.attributes["taken"]).value if dense else channels_per_tap(shape(op.operands[0])[1])


class Unfold2dOp(GradCAM.Operation, name="unfold2d", traits=[ext.Pure, Gradient(), LinearInFirst()]):
    """Copies the pixels under each position of a window to adjacent channels: im2col whose result is a map.

    y[(i*KW + j)*P + c, h, w] = x[c, h*stride + i*dilation - low, w*stride + j*dilation - low], zero outside x and for
    the channels c >= C up to P, the power of two from C on. `low` zeros are before and `high` zeros behind x, each for
    height and width. As torch.nn.functional.unfold except for the order and padding of channels. The attribute `taken`
    gives another P: a tap then is the first P channels.
    x: 1xCxHxW, y: 1x(KH*KW*P)xOHxOW.
    """

    x: ext.Operand[Any]
    kernel: ir.ArrayAttr
    stride: ir.ArrayAttr
    low: ir.ArrayAttr
    high: ir.ArrayAttr
    dilation: ir.ArrayAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _, channels, *size = rank(op.operands[0], 4, "input")
        kernel, stride, dilation = (ints(op, name, 2, 1) for name in ("kernel", "stride", "dilation"))
        out = []
        for n, k, s, low, high, d in zip(
            size, kernel, stride, ints(op, "low", 2, 0), ints(op, "high", 2, 0), dilation, strict=True
        ):
            reach, padded = d * (k - 1) + 1, low + n + high
            require(padded >= reach, f"window of {reach} is larger than the padded input of {padded}")
            out.append((padded - reach) // s + 1)
        taken = lanes_of_tap(op)
        require(0 < taken <= channels_per_tap(channels), f"{taken} of {channels} channels cannot be taken")
        result_shape(op, [1, kernel[0] * kernel[1] * taken, *out])


class Fold2dOp(GradCAM.Operation, name="fold2d", traits=[ext.Pure, Gradient(), LinearInFirst()]):
    """Puts pixels that lie side by side in the channels back into their places: the inverse of unfold2d.

    y[c, h*KH + i, w*KW + j] = x[(i*KW + j)*P + c, h, w], as of windows that do not overlap; P is the power of two from
    C on. x: 1x(KH*KW*P)xHxW, y: 1xCx(H*KH)x(W*KW).
    """

    x: ext.Operand[Any]
    kernel: ir.ArrayAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _, lanes, *size = rank(op.operands[0], 4, "input")
        kernel = ints(op, "kernel", 2, 1)
        _, channels, *_ = rank(op.results[0], 4, "result")
        needed = kernel[0] * kernel[1] * channels_per_tap(channels)
        require(lanes == needed, f"{needed} channels hold {kernel[0]}x{kernel[1]} pixels of {channels}, got {lanes}")
        result_shape(op, [1, channels, size[0] * kernel[0], size[1] * kernel[1]])
