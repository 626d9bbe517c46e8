"""gradcam-quantize: from calibrated f32 tensors to int8 and int32 tensors whose types carry the scales."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch_mlir import ir

from gradcam.bits import LEAST, Bits, check_bits
from gradcam.dialect import cam_ops, ops, product_ops
from gradcam.dialect.traits import (
    Activation,
    AlignsParts,
    ChoosesScale,
    Curve,
    ExactProduct,
    Forward,
    Product,
    Quantized,
    UnitScale,
    Unscaled,
    has,
    trait,
)
from gradcam.errors import fail
from gradcam.functions import FUNCTIONS
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.given_ranges import GIVEN_RANGE
from gradcam.passes.ir.queries import main_function, only_user
from gradcam.passes.quantize.calibrate import RANGE, RANGE_BITS
from gradcam.passes.quantize.checks import check_rescale, classifier_of, refuse_unsupported
from gradcam.passes.quantize.gradients import Gradients
from gradcam.passes.quantize.joint_ranges import share_ranges
from gradcam.passes.quantize.means import INPUT_MEAN
from gradcam.passes.quantize.parameters import Parameters
from gradcam.passes.quantize.unsigned_maps import activation_behind, has_byte_curve, has_fraction, unsigned_maps
from gradcam.quant_types import (
    ACCUMULATOR_BITS,
    FRACTION_BITS,
    accumulator_scale,
    is_narrow,
    levels,
    per_tensor,
    scale,
    storage_bits,
)

#: The attributes of ops and of the image that are read here, and left out of the quantized module.
MEASURED = (RANGE, GIVEN_RANGE, INPUT_MEAN)

#: Bits of the image, whose pixels have no more, and of gradients that are 0 or 1.
IMAGE_BITS = UNIT_BITS = 8

#: The integers up to the bend of a hard sigmoid or hard swish, at most: 16 bits then hold twice as much.
BEND_STEPS = 1 << 14


@dataclass(frozen=True)
class Quantize(Pass):
    """Quantizes every tensor of a calibrated module: 8-bit feature maps and weights, int32 logits and heatmap.

    A feature map that is never negative is unsigned, and its range stands for 255 (`unsigned_maps.py`). Options choose
    more bits: `activation-bits` and `weight-bits` up to 12, `gradient-bits` up to 16. The image has 8.

    A convolution, linear, sum or average pool whose only user is an activation takes the activation's range. In two
    cases it has 32 bits with a fraction: where a mask or slope reads it, too, so that the mask is right for values that
    round to 0; and where the activation does more than clip, so that it sees no saturated value. What is looked up in a
    table keeps its own range, as far as the table's function changes within it. A convolution whose only user is a sum
    has 32 bits at the sum's scale, and is not saturated before the sum. What a concatenation joins has one scale, at
    which its layers store it. The layer that yields the logits keeps its accumulators; its weights share one scale, so
    that logits can be compared. For gradients see
    `passes/quantize/gradients.py`.

    This pass turns:
        %0 = "gradcam.conv2d"(%image, %w, %b) {gradcam.range = 9.5 : f64, ...} : (...) -> tensor<1x4x8x8xf32>
        %1 = "gradcam.relu"(%0) {gradcam.range = 5.08 : f64} : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x8xf32>
    into:
        %w = quant.scast %cw : tensor<4x3x3x3xi8> to tensor<4x3x3x3x!quant.uniform<i8:f32:0, {2.5e-03,...}>>
        %b = quant.scast %cb : tensor<4xi32> to tensor<4x!quant.uniform<i32:f32:0, {2.0e-05,...}>>
        %0 = "gradcam.conv2d"(%image, %w, %b) ... -> tensor<1x4x8x8x!quant.uniform<u8:f32, 2.0e-02>>
        %1 = "gradcam.relu"(%0) ... -> tensor<1x4x8x8x!quant.uniform<u8:f32, 2.0e-02>>
    """

    name: ClassVar[str] = "gradcam-quantize"

    activation_bits: int = LEAST
    gradient_bits: int = LEAST
    weight_bits: int = LEAST

    def __post_init__(self) -> None:
        check_bits(self, self.named)

    def run(self, module: Any) -> None:  # noqa: D102
        main, bits = main_function(module), Bits.of(self)
        refuse_unsupported(main)
        self._take_range_bits(main)
        with module.context, ir.Location.unknown():
            _Quantizer(main, bits).quantize()

    def _take_range_bits(self, main: Any) -> None:
        """Removes the bits for which ranges were chosen from a function.

        Raises:
            GradcamError: feature maps are to have others.
        """
        if RANGE_BITS not in main.attributes:
            return
        chosen = ir.IntegerAttr(main.attributes[RANGE_BITS]).value
        if chosen != self.activation_bits:
            remedy = f"give activation-bits={chosen}, or {self.activation_bits} to gradcam-calibrate"
            raise fail(
                main, f"ranges were chosen for feature maps of {chosen} bits, not {self.activation_bits}; {remedy}"
            )
        del main.attributes[RANGE_BITS]


class _Quantizer:
    """Quantizes one function. All scales of feature maps are chosen before any op changes.

    Tables are keyed by an op's result: the hash of an op covers its operands and attributes, and so changes with them.
    """

    def __init__(self, main: Any, bits: Bits) -> None:
        self.main, self.bits = main, bits.activation_bits
        self.image = main.entry_block.arguments[0]
        self.body = list(main.entry_block.operations)
        self.classifier, self.behind = classifier_of(self.body[-1])
        self.image_scale = _image_range(main) / levels(IMAGE_BITS)
        self.parameters = Parameters(bits.weight_bits)
        self.gradients = Gradients(main, self.parameters, bits.gradient_bits)
        self.body = list(main.entry_block.operations)
        self.unsigned = unsigned_maps(main)
        self.sums = _residual_sums(op for op in self.body if not set(op.results) & self.gradients.values)
        share_ranges(self.body, self.gradients.values)
        own = [op for op in self.body if self._has_own_scale(op)]
        self.scales = {op.results[0]: self._own_scale(op) for op in own}

    def _has_own_scale(self, op: Any) -> bool:
        chooses = has(op, Forward) and has(op, ChoosesScale)
        forward = chooses and op != self.classifier and op.results[0] not in self.gradients.values
        return forward and op.results[0] not in self.sums

    def _own_scale(self, op: Any) -> tuple[float, int]:
        """Scale and bits of an op's result.

        The range is that of the activation behind the op, if nothing but this activation and its slope read the result.
        What operands have stored side by side has their bits.
        """
        value = op.results[0]
        reader = None if has(op, AlignsParts) or has_byte_curve(op) else activation_behind(value)
        if reader is None:
            return self._step(op), self.bits
        if has_byte_curve(reader):
            return min(_range(op), FUNCTIONS[reader.function.value].limit) / self._levels(value), self.bits
        if not has_fraction(value):
            return self._step(reader), self.bits
        curve = trait(reader, Curve)
        return max(
            self._step(reader) / (1 << FRACTION_BITS), curve.bend / BEND_STEPS if curve else 0.0
        ), ACCUMULATOR_BITS

    def _step(self, op: Any) -> float:
        """The scale with which the largest integer of the result of an op stands for its range."""
        return _range(op) / self._levels(op.results[0])

    def _levels(self, value: ir.Value) -> int:
        return levels(self.bits, value in self.unsigned)

    def _set_scale(self, value: ir.Value, scale_: float, bits: int) -> None:
        shape, unsigned = ir.RankedTensorType(value.type).shape, bits < ACCUMULATOR_BITS and value in self.unsigned
        value.set_type(per_tensor(shape, scale_, bits, unsigned))

    def quantize(self) -> None:
        """Changes the function in place, in program order: a type follows from the operands' types."""
        self._set_scale(self.image, self.image_scale, IMAGE_BITS)
        for op in self.body:
            product = trait(op, Product)
            if isinstance(op, cam_ops.ClassRowOp):
                op.operands[0] = self.parameters.table(op)
            elif product is not None and product.transposed:
                self.parameters.read_by_adjoint(op)
            elif product is not None:
                self.parameters.quantize(op, one_scale=op == self.classifier)
            if has(op, Quantized) and not has(op, Unscaled):
                self._set_result_type(op)
                check_rescale(op)
            for name in MEASURED:
                if name in op.attributes:
                    del op.attributes[name]
        self.parameters.erase_originals()
        self._set_function_type()

    def _set_result_type(self, op: Any) -> None:
        result, operands = op.results[0], list(op.operands)
        if result in self.scales:
            self._set_scale(result, *self.scales[result])
        elif result in self.sums:
            self._set_scale(result, self.scales[self.sums[result]][0], ACCUMULATOR_BITS)
        elif op == self.classifier:
            self._set_scale(result, accumulator_scale(op), ACCUMULATOR_BITS)
        elif has(op, ExactProduct):
            self._set_scale(result, scale(operands[0]) * scale(operands[1]), ACCUMULATOR_BITS)
        elif isinstance(op, cam_ops.PoolMapOp):
            self._set_scale(result, scale(operands[0]) / op.size.value**2, ACCUMULATOR_BITS)
        elif has(op, UnitScale):
            self._set_scale(result, 1 / levels(UNIT_BITS), UNIT_BITS)
        elif isinstance(op, cam_ops.ScaleOp) and len(ir.RankedTensorType(result.type).shape) == 3:
            factor = ir.FloatAttr(op.attributes["factor"]).value
            self._set_scale(result, scale(operands[0]) * factor, ACCUMULATOR_BITS)
        elif result in self.gradients.values and not isinstance(op, cam_ops.ClassRowOp):
            result.set_type(self.gradients.result_type(op))
        elif isinstance(op, cam_ops.ScaleOp):
            self._set_scale(result, scale(operands[0]) * op.factor.value, storage_bits(operands[0]))
        elif has(op, Activation) and not is_narrow(operands[0]) and result not in self.behind:
            self._set_scale(result, scale(operands[0]) * (1 << FRACTION_BITS), self.bits)
        else:  # KeepsScale
            _set_element_type(result, ir.RankedTensorType(operands[0].type).element_type)

    def _set_function_type(self) -> None:
        inputs = [a.type for a in self.main.entry_block.arguments]
        outputs = [v.type for v in self.body[-1].operands]
        self.main.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(inputs, outputs))
        kept = [{a.name: a.attr for a in attributes if a.name not in MEASURED} for attributes in self.main.arg_attrs]
        self.main.arg_attrs = ir.ArrayAttr.get([ir.DictAttr.get(attributes) for attributes in kept])


def _set_element_type(value: Any, element: ir.Type) -> None:
    value.set_type(ir.RankedTensorType.get(ir.RankedTensorType(value.type).shape, element))


def _residual_sums(body: Iterable[Any]) -> dict[Any, Any]:
    """The results of convolutions and products that feed a sum with 32 bits, each with its sum.

    Of two candidates it is the later one.
    """
    last = {}
    for op in body:
        if isinstance(op, ops.Conv2dOp | product_ops.MulOp) and isinstance(user := only_user(op), ops.AddOp):
            last[user.results[0]] = op.results[0]
    return {conv: sum_ for sum_, conv in last.items()}


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
