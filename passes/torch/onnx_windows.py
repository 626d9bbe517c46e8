"""Converters of ONNX operators with windows and positions: padding, convolutions, pools, resizing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch_mlir import ir

from gradcam.dialect.verify import by
from gradcam.passes.torch.onnx_node import OnnxNode


def padded(
    node: OnnxNode, axes: Sequence[int], pads: Sequence[int], mode: str, value: float, shape: Sequence[int]
) -> ir.Value:
    """The first input padded: `pads` has a number before each of `axes`, then one behind each, as in ONNX."""
    before = dict(zip(axes, pads[: len(axes)], strict=True))
    behind = dict(zip(axes, pads[len(axes) :], strict=True))
    order = range(len(shape) - 1, -1, -1)  # PyTorch's order is that of the last dimension first
    numbers = [n for axis in order for n in (before.get(axis, 0), behind.get(axis, 0))]
    while len(numbers) > 2 and numbers[-2:] == [0, 0]:
        numbers = numbers[:-2]
    return node.torch("aten.pad", node.input(0), numbers, mode, value, shape=shape)


def convolution(node: OnnxNode) -> ir.Value | None:
    """A convolution along one dimension, to which torch-mlir gives the output padding of two."""
    if len(shape := node.shape(0)) != 3:
        return None
    strides, pads, dilations = (
        node.attribute(name, default) for name, default in (("strides", [1]), ("pads", [0, 0]), ("dilations", [1]))
    )
    x, padding = node.input(0), pads[:1]
    if pads[0] != pads[1]:
        x, padding = padded(node, (2,), pads, "constant", 0.0, [*shape[:2], shape[2] + sum(pads)]), [0]
    bias = node.input(2) if node.has(2) else None
    return node.torch("aten.conv1d", x, node.input(1), bias, strides, padding, dilations, node.attribute("group", 1))


def _window(node: OnnxNode) -> tuple[list[int], list[int], list[int], list[int]]:
    """Kernel, strides, pads (before each axis, then behind) and dilations of a pool of two axes."""
    kernel = node.attribute("kernel_shape")
    if len(kernel) != 2 or len(node.shape(0)) != 4:
        raise node.error(f"has a kernel of {len(kernel)} dimensions; only two-dimensional pools are supported")
    strides, pads, dilations = (
        node.attribute(name, default)
        for name, default in (("strides", [1, 1]), ("pads", [0, 0, 0, 0]), ("dilations", [1, 1]))
    )
    return kernel, strides, pads, dilations


def _padding(node: OnnxNode, pads: list[int], value: float) -> tuple[ir.Value, list[int]]:
    """The input of a pool and the padding that the pool itself does: pads that are not equal are made before it."""
    if pads[:2] == pads[2:]:
        return node.input(0), pads[:2]
    shape = node.shape(0)
    sizes = [*shape[:2], shape[2] + pads[0] + pads[2], shape[3] + pads[1] + pads[3]]
    return padded(node, (2, 3), pads, "constant", value, sizes), [0, 0]


def _hanging(node: OnnxNode) -> list[int]:
    """Rows and columns by which the windows that ceil_mode adds hang over the padded map."""
    kernel, strides, pads, dilations = _window(node)
    total = [before + behind for before, behind in zip(pads[:2], pads[2:], strict=True)]
    axes = zip(node.shape(0)[2:], node.result_shape[2:], total, kernel, strides, dilations, strict=True)
    return [max(0, (m - 1) * s + d * (k - 1) + 1 - n - p) for n, m, p, k, s, d in axes]


def max_pool(node: OnnxNode) -> ir.Value:
    """A max-pool; padding never wins."""
    kernel, strides, pads, dilations = _window(node)
    x, padding = _padding(node, pads, -math.inf)
    return node.torch("aten.max_pool2d", x, kernel, strides, padding, dilations, any(_hanging(node)))


def average_pool(node: OnnxNode) -> ir.Value:
    """An average pool; what divides is the part of a window in the map or, where padding counts, in the padded map."""
    kernel, strides, pads, dilations = _window(node)
    if dilations != [1, 1]:
        raise node.error(f"has dilations {by(dilations)}, which are not supported")
    counted, over = bool(node.attribute("count_include_pad", 0)), _hanging(node)
    if pads[:2] == pads[2:] or (counted and not any(over)):
        x, padding = _padding(node, pads, 0.0)
        return node.torch("aten.avg_pool2d", x, kernel, strides, padding, any(over), counted, None)
    x, pads = (_padding(node, pads, 0.0)[0], [0, 0, 0, 0]) if counted else (node.input(0), pads)
    return node.own("avg_pool2d", x, kernel, strides, [*pads[:2], pads[2] + over[0], pads[3] + over[1]])


def resize(node: OnnxNode) -> ir.Value:
    """Nearest neighbours at a whole factor, where each pixel becomes a block of equal ones."""
    mode, size, out = node.attribute("mode", "nearest"), node.shape(0), node.result_shape
    if mode != "nearest":
        raise node.error(f"has mode {mode}; supported is nearest")
    if len(size) != 4 or size[:2] != out[:2] or any(m % n for n, m in zip(size, out, strict=True)):
        raise node.error(f"makes {by(out)} of {by(size)}; supported are rows and columns that become whole multiples")
    for n, m in zip(size[2:], out[2:], strict=True):
        if not np.array_equal(_nearest(node, n, m), np.arange(m) // (m // n)):
            transform, rounding = node.attribute("coordinate_transformation_mode"), node.attribute("nearest_mode")
            raise node.error(f"by {transform} and {rounding} does not make blocks of equal pixels, which is supported")
    return node.torch("aten.upsample_nearest2d.vec", node.input(0), out[2:], None)


def _nearest(node: OnnxNode, size: int, out: int) -> np.ndarray:
    """The index in the input of each of `out` pixels, as https://onnx.ai/onnx/operators/onnx__Resize.html has them."""
    i, factor = np.arange(out), out / size
    transform = node.attribute("coordinate_transformation_mode", "half_pixel")
    x = {
        "half_pixel": (i + 0.5) / factor - 0.5,
        "half_pixel_symmetric": (i + 0.5) / factor - 0.5,
        "pytorch_half_pixel": (i + 0.5) / factor - 0.5 if out > 1 else 0.0 * i,
        "align_corners": i * (size - 1) / max(out - 1, 1),
        "asymmetric": i / factor,
    }.get(transform)
    if x is None:
        raise node.error(f"has coordinate_transformation_mode {transform}, which is not supported")
    rounded = {
        "round_prefer_floor": np.ceil(x - 0.5),
        "round_prefer_ceil": np.floor(x + 0.5),
        "floor": np.floor(x),
        "ceil": np.ceil(x),
    }[node.attribute("nearest_mode", "round_prefer_floor")]
    return np.clip(rounded, 0, size - 1)
