"""Quantized ONNX models in the QDQ format: ranges that fit the bytes of this project, and otherwise the float model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from gradcam.frontend.onnx_model import OnnxModel, array, attribute
from gradcam.quant_types import levels

_log = logging.getLogger(__name__)

#: Operators whose output is not negative, and those that keep it so where no input is.
_NONNEGATIVE = {"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs", "Exp"}
_KEEPS_NONNEGATIVE = {
    *("Add", "AveragePool", "Concat", "Dropout", "Expand", "Flatten", "Gather", "GatherND"),
    *("GlobalAveragePool", "GlobalMaxPool", "Identity"),
    *("MaxPool", "Mul", "QuantizeLinear", "DequantizeLinear", "ReduceMax", "ReduceMean", "ReduceSum", "Reshape"),
    *("Resize", "Slice", "Split", "Squeeze", "Tile", "Transpose"),
}


@dataclass(frozen=True)
class _Scheme:
    """The parameters of a QuantizeLinear.

    Attributes:
        scale: one number, or one per channel.
        zero: the zero point, in the form of `scale` or one number, of the integer type.
        axis: that of the channels.
    """

    scale: np.ndarray
    zero: np.ndarray
    axis: int

    @classmethod
    def of(cls, node: NodeProto, constants: Mapping[str, TensorProto]) -> _Scheme | None:
        """The parameters of a QuantizeLinear or a DequantizeLinear; None where they are not constant."""
        names = [name for name in node.input[1:] if name]
        if not all(name in constants for name in names):
            return None
        scale, *zero = (array(constants[name], f"'{name}'") for name in names)
        type_ = attribute(node, "output_dtype", 0) or TensorProto.UINT8
        zero = zero[0] if zero else np.zeros((), helper.tensor_dtype_to_np_dtype(type_))
        return cls(scale, zero, attribute(node, "axis", 1))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Scheme) and all(
            np.array_equal(getattr(self, n), getattr(other, n)) for n in ("scale", "zero", "axis")
        )

    @property
    def is_usable(self) -> bool:
        """Whether it is known what it does to numbers besides rounding them."""
        return self.is_symmetric or (self.scale.size == 1 and self.zero.dtype.kind in "iu")

    @property
    def is_symmetric(self) -> bool:
        """Whether it is int8 with a zero point of 0."""
        return self.zero.dtype == np.int8 and not self.zero.any()

    @property
    def starts_at_zero(self) -> bool:
        """Whether it is one byte per number, of which the least stands for 0."""
        is_byte = self.scale.size == 1 and self.zero.dtype.kind in "iu" and self.zero.dtype.itemsize == 1
        return is_byte and int(self.zero.reshape(-1)[0]) == np.iinfo(self.zero.dtype).min

    @property
    def magnitude(self) -> float | None:
        """The largest magnitude where it is that of a feature map here, per tensor: symmetric int8, or from 0 on."""
        if self.scale.size > 1 or not (self.is_symmetric or self.starts_at_zero):
            return None
        return float(self.scale.reshape(-1)[0]) * levels(8, unsigned=not self.is_symmetric)

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest number that it represents; of one scale."""
        limits, zero = np.iinfo(self.zero.dtype), int(self.zero.reshape(-1)[0])
        step = float(self.scale.reshape(-1)[0])
        return (limits.min - zero) * step, (limits.max - zero) * step


def take_quantization(graph: GraphProto, model: OnnxModel) -> dict[str, float]:
    """Removes every QuantizeLinear with the DequantizeLinear behind it that undoes it, in place.

    Those of constants are computed before, so that weights are what their integers stand for. What an asymmetric one
    does besides rounding is kept, as a Clip: quantizers leave a ReLU out where the integers have no negative values.
    The image has its own quantization.

    Returns:
        The largest magnitude of each feature map that is quantized as it is here by its tensor.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    ranges, removed, others = dict[str, float](), dict[str, str](), set[str]()
    for node in graph.node:
        quantize = made.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if quantize is None or quantize.op_type != "QuantizeLinear":
            continue
        source, scheme = removed.get(quantize.input[0], quantize.input[0]), _Scheme.of(quantize, constants)
        if scheme is None or not scheme.is_usable or scheme != _Scheme.of(node, constants):
            continue
        is_image = source not in made
        is_clipped_anyhow = is_image or _is_nonnegative(source, made, graph)
        kept = source
        if scheme.is_symmetric or (scheme.bounds[0] <= 0 and is_clipped_anyhow):
            removed[node.output[0]] = source
        else:
            kept = node.output[0]
            _become_clip(graph, node, source, scheme.bounds)
        if scheme.magnitude is not None and (scheme.is_symmetric or not is_image):  # the image has a sign
            ranges[kept] = scheme.magnitude
        else:
            others.add(source)
    _rename(graph, removed)
    _tell(model, len(ranges), len(ranges) + len(others))
    return ranges


def _is_nonnegative(name: str, made: Mapping[str, NodeProto], graph: GraphProto) -> bool:
    """Whether a tensor has no negative value, as far as operators alone tell."""
    node = made.get(name)
    if node is None:
        return False
    if node.op_type == "Clip":
        bounds = [array(tensor, f"'{name}'") for tensor in graph.initializer if tensor.name in node.input[1:2]]
        return any(bound >= 0 for bound in bounds)
    inputs = node.input if node.op_type in ("Add", "Concat", "Mul") else node.input[:1]
    keeps = node.op_type in _KEEPS_NONNEGATIVE and all(_is_nonnegative(name, made, graph) for name in inputs)
    return node.op_type in _NONNEGATIVE or keeps


def _become_clip(graph: GraphProto, node: NodeProto, source: str, bounds: tuple[float, float]) -> None:
    """Makes a Clip of a DequantizeLinear."""
    names = [f"{node.output[0]}.{side}" for side in ("least", "largest")]
    for name, bound in zip(names, bounds, strict=True):
        graph.initializer.append(numpy_helper.from_array(np.asarray(bound, np.float32), name))
    clip = helper.make_node("Clip", [source, *names], list(node.output), name=node.name)
    node.CopyFrom(clip)


def _rename(graph: GraphProto, removed: Mapping[str, str]) -> None:
    """Lets all who read a tensor read another one."""
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = removed.get(name, name)
    for info in graph.output:
        info.name = removed.get(info.name, info.name)


def _tell(model: OnnxModel, used: int, count: int) -> None:
    if not count:
        return
    if used == count:
        _log.warning("%s is quantized; the scales of its %d feature maps are used", model.path, count)
        return
    fitting = "int8 with a zero point of 0, or bytes from 0 on"
    how = f"{used} of its {count} feature maps have scales that fit, {fitting}; others are measured"
    _log.warning("%s is quantized; it is taken as the float model that its weights stand for; %s", model.path, how)
