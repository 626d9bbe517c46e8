"""gradcam-quantize: from calibrated f32 tensors to int8 and int32 tensors whose types carry the scales."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch_mlir import ir

from gradcam.dialect import cam_ops, ops
from gradcam.errors import fail
from gradcam.passes.calibrate import RANGE
from gradcam.passes.pass_base import Pass
from gradcam.passes.quantize_checks import check_rescale, refuse_unsupported
from gradcam.passes.quantize_parameters import Parameters
from gradcam.quant_types import INT8_LEVELS, per_tensor, scale
from gradcam.reference.interpreter import main_function


@dataclass(frozen=True)
class Quantize(Pass):
    """Gives every tensor of a calibrated module its integers: int8 feature maps and weights, int32 logits and heatmap.

    A convolution, linear, sum or average pool whose only user is a relu or clamp takes that op's range. A convolution
    whose only user is a sum is not saturated before it: it has 32 bits at the sum's scale. The layer that yields the
    logits keeps its accumulators; its weights share one scale, so that logits compare.

    This pass turns:
        %0 = "gradcam.conv2d"(%image, %w, %b) {gradcam.range = 9.5 : f64, ...} : (...) -> tensor<1x4x8x8xf32>
        %1 = "gradcam.relu"(%0) {gradcam.range = 5.08 : f64} : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x8xf32>
    into:
        %w = quant.scast %cw : tensor<4x3x3x3xi8> to tensor<4x3x3x3x!quant.uniform<i8:f32:0, {2.5e-03,...}>>
        %b = quant.scast %cb : tensor<4xi32> to tensor<4x!quant.uniform<i32:f32:0, {2.0e-05,...}>>
        %0 = "gradcam.conv2d"(%image, %w, %b) ... -> tensor<1x4x8x8x!quant.uniform<i8:f32, 4.0e-02>>
        %1 = "gradcam.relu"(%0) ... -> tensor<1x4x8x8x!quant.uniform<i8:f32, 4.0e-02>>
    """

    name: ClassVar[str] = "gradcam-quantize"

    def run(self, module: Any) -> None:  # noqa: D102
        main = main_function(module)
        refuse_unsupported(main)
        with module.context, ir.Location.unknown():
            _Quantizer(main).quantize()


class _Quantizer:
    """Quantizes one function. All scales of feature maps are chosen before anything changes.

    Tables are keyed by an op's result: the hash of an op covers its operands and attributes, and so changes with them.
    """

    def __init__(self, main: Any) -> None:
        self.main = main
        self.image = main.entry_block.arguments[0]
        self.body = list(main.entry_block.operations)
        self.classifier = _classifier(self.body[-1])
        self.sums = _residual_sums(self.body)
        self.image_scale = _image_range(main) / INT8_LEVELS
        own = [op for op in self.body if self._has_own_scale(op)]
        self.scales = {op.results[0]: _own_range(op) / INT8_LEVELS for op in own}
        self.parameters = Parameters()

    def _has_own_scale(self, op: Any) -> bool:
        chooses = isinstance(op, ops.Conv2dOp | ops.LinearOp | ops.AddOp | ops.AvgPool2dOp)
        return chooses and op != self.classifier and op.results[0] not in self.sums

    def quantize(self) -> None:
        """Changes the function in place, in program order: a type follows from the operands' types."""
        _set_scale(self.image, self.image_scale)
        for op in self.body:
            if isinstance(op, ops.Conv2dOp | ops.LinearOp):
                self.parameters.quantize(op, one_scale=op == self.classifier)
            elif isinstance(op, cam_ops.ClassRowOp):
                op.operands[0] = self.parameters.table(op)
            if op.operation.name.startswith("gradcam.") and not isinstance(op, cam_ops.SelectClassOp):
                self._set_result_type(op)
                check_rescale(op)
            if RANGE in op.attributes:
                del op.attributes[RANGE]
        self.parameters.erase_originals()
        self._set_function_type()

    def _set_result_type(self, op: Any) -> None:
        result, operands = op.results[0], list(op.operands)
        if result in self.scales:
            _set_scale(result, self.scales[result])
        elif result in self.sums:
            _set_scale(result, self.scales[self.sums[result]], 32)
        elif op == self.classifier or isinstance(op, cam_ops.WeightedSumOp):
            _set_scale(result, scale(operands[0]) * scale(operands[1]), 32)
        elif isinstance(op, cam_ops.ScaleOp):
            _set_scale(result, scale(operands[0]) * ir.FloatAttr(op.attributes["factor"]).value, 32)
        else:  # relu, clamp, max_pool2d, flatten and class_row keep integers and scale
            _set_element_type(result, ir.RankedTensorType(operands[0].type).element_type)

    def _set_function_type(self) -> None:
        inputs = [a.type for a in self.main.entry_block.arguments]
        outputs = [v.type for v in self.body[-1].operands]
        self.main.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(inputs, outputs))
        kept = [{a.name: a.attr for a in attributes if a.name != RANGE} for attributes in self.main.arg_attrs]
        self.main.arg_attrs = ir.ArrayAttr.get([ir.DictAttr.get(attributes) for attributes in kept])


def _set_scale(value: Any, scale_: float, bits: int = 8) -> None:
    value.set_type(per_tensor(ir.RankedTensorType(value.type).shape, scale_, bits))


def _set_element_type(value: Any, element: ir.Type) -> None:
    value.set_type(ir.RankedTensorType.get(ir.RankedTensorType(value.type).shape, element))


def _classifier(return_op: Any) -> Any:
    """The layer that yields the logits, seen through a flatten."""
    layer = return_op.operands[0].owner
    users = _users(layer)
    if isinstance(layer, ops.FlattenOp):
        users += _users(layer.operands[0].owner)
        layer = layer.operands[0].owner
    if not isinstance(layer, ops.Conv2dOp | ops.LinearOp):
        raise fail(return_op, "the logits must come from a linear or a convolution")
    if not all(isinstance(u, ops.FlattenOp | cam_ops.SelectClassOp) or u == return_op for u in users):
        raise fail(layer, "the logits are 32-bit and cannot also feed another layer")
    return layer


def _users(op: Any) -> list[Any]:
    return [use.owner for use in op.results[0].uses] if isinstance(op, ir.OpView) else []


def _only_user(op: Any) -> Any:
    """The op that uses the result, when it does so once and no other does; else None."""
    users = _users(op)
    return users[0] if len(users) == 1 else None


def _residual_sums(body: list[Any]) -> dict[Any, Any]:
    """Each convolution (its result) that feeds a sum with 32 bits, and that sum; of two candidates the later one."""
    last = {}
    for op in body:
        if isinstance(op, ops.Conv2dOp) and isinstance(user := _only_user(op), ops.AddOp):
            last[user.results[0]] = op.results[0]
    return {conv: sum_ for sum_, conv in last.items()}


def _own_range(op: Any) -> float:
    """The range of the op's result, or of the relu or clamp that alone uses it."""
    user = _only_user(op)
    return _range(user if isinstance(user, ops.ReluOp | ops.ClampOp) else op)


def _range(op: Any) -> float:
    if RANGE not in op.attributes:
        raise fail(op, f"'{op.operation.name}' has no {RANGE}; run gradcam-calibrate first")
    return _positive(op, ir.FloatAttr(op.attributes[RANGE]).value)


def _image_range(main: Any) -> float:
    attributes = {a.name: a.attr for a in main.arg_attrs[0]}
    if RANGE not in attributes:
        raise fail(main, f"the image has no {RANGE}; run gradcam-calibrate first")
    return _positive(main, ir.FloatAttr(attributes[RANGE]).value)


def _positive(where: Any, range_: float) -> float:
    if not (math.isfinite(range_) and range_ > 0):
        raise fail(where, f"{RANGE} must be a positive number, got {range_:g}")
    return range_
