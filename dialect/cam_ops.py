"""Ops of the explanation: the request (`target`, `explain`), and the formula after the backward pass is derived."""

from collections.abc import Sequence
from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import ext

from gradcam.dialect.gradcam import GradCAM
from gradcam.dialect.methods import method_fault
from gradcam.dialect.traits import (
    ChoosesClass,
    Elementwise,
    ExactProduct,
    Forward,
    Gradient,
    KeepsScale,
    LinearInFirst,
    MethodFormula,
    Quantized,
    Rowwise,
    Sum,
    UnitScale,
)
from gradcam.dialect.verify import rank, require, result_shape, shape, verifier


def _positive_eps(op: Any) -> None:
    eps = ir.FloatAttr(op.attributes["eps"]).value
    require(eps > 0, f"attribute 'eps' must be positive, got {eps}")


class TargetOp(GradCAM.Operation, name="target", traits=[ext.Pure, LinearInFirst()]):
    """Names a feature map by the path of the module that made it; its value is `x`."""

    x: ext.Operand[Any]
    path: ir.StringAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        rank(op.operands[0], 4, "target feature map")
        result_shape(op, shape(op.operands[0]))


class ExplainOp(GradCAM.Operation, name="explain", traits=[ext.Pure]):
    """Class activation map of `target` for class `cls`. logits: 1xK, target: 1xCxHxW, cls: 1xi32, map: 1xHxW.

    `cls` is a request as `gradcam.select_class` takes it, or the result of an op with the trait `ChoosesClass`.

    The map is the raw sum of `method`, one of `gradcam.dialect.methods.METHODS`. The attributes `relu` (clip below 0)
    and `normalize` (subtract the minimum, divide by eps + maximum) tell a viewer how to show it, by the conventions of
    pytorch-grad-cam. `eps` is added to every divisor, also to that of xgradcam and gradcam++.
    """

    logits: ext.Operand[Any]
    target: ext.Operand[Any]
    cls: ext.Operand[Any]
    method: ir.StringAttr
    relu: ir.IntegerAttr
    normalize: ir.IntegerAttr
    eps: ir.FloatAttr
    map: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        rank(op.operands[0], 2, "logits")
        _, _, h, w = rank(op.operands[1], 4, "target feature map")
        require(shape(op.operands[2]) == [1], f"class must be tensor<1xi32>, got {op.operands[2].type}")
        fault = method_fault(ir.StringAttr(op.attributes["method"]).value)
        require(not fault, f"cannot be derived: {fault}")
        _positive_eps(op)
        result_shape(op, [1, h, w])


class SelectClassOp(GradCAM.Operation, name="select_class", traits=[ext.Pure, ChoosesClass()]):
    """The class to explain: `request` where it is not negative, otherwise the first maximum of the logits.

    logits: 1xK, request: 1xi32, cls: 1xi32.
    """

    logits: ext.Operand[Any]
    request: ext.Operand[Any]
    cls: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        rank(op.operands[0], 2, "logits")
        require(shape(op.operands[1]) == [1], f"requested class must be tensor<1xi32>, got {op.operands[1].type}")
        result_shape(op, [1])


class NextClassOp(GradCAM.Operation, name="next_class", traits=[ext.Pure, ChoosesClass()]):
    """The next best class to explain: the first maximum of the logits among the classes that are not in `chosen`.

    logits: 1xK, chosen: 1 to K - 1 different classes, 1xi32 each, cls: 1xi32.
    """

    logits: ext.Operand[Any]
    chosen: Sequence[ext.Operand[Any]]
    cls: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _, classes = rank(op.operands[0], 2, "logits")
        chosen = list(op.operands)[1:]
        for value in chosen:
            require(shape(value) == [1], f"a chosen class must be tensor<1xi32>, got {value.type}")
        require(bool(chosen), "needs at least one chosen class; the first one comes from gradcam.select_class")
        require(len(chosen) < classes, f"leaves no class: {len(chosen)} of {classes} are chosen")
        result_shape(op, [1])


class OneHotOp(GradCAM.Operation, name="one_hot", traits=[ext.Pure, Gradient(), UnitScale()]):
    """Gradient of the class score at the logits: 1 at `cls`, 0 elsewhere. cls: 1xi32, y: 1xK."""

    cls: ext.Operand[Any]
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        require(shape(op.operands[0]) == [1], f"class must be tensor<1xi32>, got {op.operands[0].type}")
        rank(op.results[0], 2, "result")


class ClassRowOp(GradCAM.Operation, name="class_row", traits=[ext.Pure, LinearInFirst(), KeepsScale()]):
    """Row `cls` of a table with one row per class, read in place: y = w[cls]. w: Kx..., cls: 1xi32, y: 1x..."""

    w: ext.Operand[Any]
    cls: ext.Operand[Any]
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        require(shape(op.operands[1]) == [1], f"class must be tensor<1xi32>, got {op.operands[1].type}")
        result_shape(op, [1, *shape(op.operands[0])[1:]])


class ChannelWeightsOp(
    GradCAM.Operation,
    name="channel_weights",
    traits=[ext.Pure, Gradient(), LinearInFirst(), Rowwise(), MethodFormula(), Sum("map", mean=True)],
):
    """Spatial mean of a gradient: y[c] = mean over h,w of g[c,h,w] (Grad-CAM, eq. 1). g: 1xCxHxW, y: 1xC."""

    g: ext.Operand[Any]
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        result_shape(op, rank(op.operands[0], 4, "gradient")[:2])


def _check_weights(op: Any) -> None:
    """Weights (1xC) from a gradient and a feature map of equal shapes, and an eps."""
    channels = rank(op.operands[0], 4, "gradient")[1]
    require(shape(op.operands[0]) == shape(op.operands[1]), "gradient and feature map must have equal shapes")
    _positive_eps(op)
    result_shape(op, [1, channels])


class XGradCamWeightsOp(
    GradCAM.Operation, name="xgradcam_weights", traits=[ext.Pure, LinearInFirst(), MethodFormula()]
):
    """y[c] = sum over h,w of g[c] * a[c] / (eps + sum over h,w of a[c]). XGrad-CAM, Fu et al. 2020.

    eps keeps the divisor from 0, as in pytorch-grad-cam. g, a: 1xCxHxW, y: 1xC.
    """

    g: ext.Operand[Any]
    a: ext.Operand[Any]
    eps: ir.FloatAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _check_weights(op)


class GradCamPlusPlusWeightsOp(GradCAM.Operation, name="gradcam_plus_plus_weights", traits=[ext.Pure, MethodFormula()]):
    """y[c] = sum over h,w of alpha * max(g, 0), with alpha = g^2 / (2 g^2 + S g^3 + eps), S[c] = sum over h,w of a[c].

    Grad-CAM++, Chattopadhay et al. 2018, alpha by eq. 19: the sum over the whole map stands outside the power of the
    gradient. The paper's score is exp(logit); the factor exp(logit), which all channels share, is left out, as in
    pytorch-grad-cam. g, a: 1xCxHxW, y: 1xC.
    """

    g: ext.Operand[Any]
    a: ext.Operand[Any]
    eps: ir.FloatAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _check_weights(op)


class ChannelSumOp(GradCAM.Operation, name="channel_sum", traits=[ext.Pure, LinearInFirst(), MethodFormula()]):
    """y[h,w] = sum over c of x[c,h,w]. x: 1xCxHxW, y: 1xHxW."""

    x: ext.Operand[Any]
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _, _, h, w = rank(op.operands[0], 4, "feature map")
        result_shape(op, [1, h, w])


class WeightedSumOp(
    GradCAM.Operation, name="weighted_sum", traits=[ext.Pure, LinearInFirst(), MethodFormula(), ExactProduct()]
):
    """y[h,w] = sum over c of weights[c] * a[c,h,w] (Grad-CAM, eq. 2), or of weights[c,h,w] * a[c,h,w] (HiResCAM).

    weights: 1xC or 1xCxHxW, a: 1xCxHxW, y: 1xHxW.
    """

    weights: ext.Operand[Any]
    a: ext.Operand[Any]
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _, c, h, w = rank(op.operands[1], 4, "feature map")
        found = shape(op.operands[0])
        require(found in ([1, c], [1, c, h, w]), f"weights must be 1x{c} or 1x{c}x{h}x{w}, got {op.operands[0].type}")
        result_shape(op, [1, h, w])


class PoolMapOp(GradCAM.Operation, name="pool_map", traits=[ext.Pure, LinearInFirst(), MethodFormula(), Quantized()]):
    """y[h,w] = mean of the block x[h * size + i, w * size + j], 0 <= i, j < size, as torch.nn.functional.avg_pool2d.

    Rows and columns behind the last whole block are left out. Quantized, y holds the sums of the blocks, which are
    exact, and its scale divides them. x: 1xHxW, y: 1x(H floordiv size)x(W floordiv size).
    """

    x: ext.Operand[Any]
    size: ir.IntegerAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        _, h, w = rank(op.operands[0], 3, "map")
        size = ir.IntegerAttr(op.attributes["size"]).value
        require(1 <= size <= min(h, w), f"a map of {h}x{w} has no block of {size}x{size}")
        result_shape(op, [1, h // size, w // size])


class ScaleOp(
    GradCAM.Operation,
    name="scale",
    traits=[ext.Pure, Forward(), Gradient(), LinearInFirst(), KeepsScale(), Elementwise()],
):
    """y = factor * x. On quantized tensors only the scale of the type changes: it costs nothing."""

    x: ext.Operand[Any]
    factor: ir.FloatAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        result_shape(op, shape(op.operands[0]))
