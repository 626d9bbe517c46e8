"""The explanation: what is asked (`target`, `explain`) and what it is made of once the backward pass is derived."""

from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import ext

from gradcam.dialect.dialect import GradCAM
from gradcam.dialect.verify import rank, require, result_shape, shape, verifier

#: Methods with a derivation here. gradcam: Selvaraju et al. 2017; hirescam: Draelos & Carin 2020.
METHODS = ("gradcam", "hirescam")


class TargetOp(GradCAM.Operation, name="target", traits=[ext.Pure]):
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

    The map is the raw weighted sum. What a viewer does with it is a convention and stands in the attributes: `relu`
    (clip below 0), `normalize` (subtract the minimum, divide by eps + maximum), `eps`; they are pytorch-grad-cam's.
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
        method = ir.StringAttr(op.attributes["method"]).value
        require(method in METHODS, f"knows no method '{method}'; choose one of {', '.join(METHODS)}")
        result_shape(op, [1, h, w])


class SelectClassOp(GradCAM.Operation, name="select_class", traits=[ext.Pure]):
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


class OneHotOp(GradCAM.Operation, name="one_hot", traits=[ext.Pure]):
    """Gradient of the class score at the logits: 1 at `cls`, 0 elsewhere. cls: 1xi32, y: 1xK."""

    cls: ext.Operand[Any]
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        require(shape(op.operands[0]) == [1], f"class must be tensor<1xi32>, got {op.operands[0].type}")
        rank(op.results[0], 2, "result")


class ClassRowOp(GradCAM.Operation, name="class_row", traits=[ext.Pure]):
    """Row `cls` of a table with one row per class, read in place: y = w[cls]. w: Kx..., cls: 1xi32, y: 1x..."""

    w: ext.Operand[Any]
    cls: ext.Operand[Any]
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        require(shape(op.operands[1]) == [1], f"class must be tensor<1xi32>, got {op.operands[1].type}")
        result_shape(op, [1, *shape(op.operands[0])[1:]])


class ChannelWeightsOp(GradCAM.Operation, name="channel_weights", traits=[ext.Pure]):
    """Spatial mean of a gradient: y[c] = mean over h,w of g[c,h,w] (Grad-CAM, eq. 1). g: 1xCxHxW, y: 1xC."""

    g: ext.Operand[Any]
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        result_shape(op, rank(op.operands[0], 4, "gradient")[:2])


class WeightedSumOp(GradCAM.Operation, name="weighted_sum", traits=[ext.Pure]):
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


class ScaleOp(GradCAM.Operation, name="scale", traits=[ext.Pure]):
    """y = factor * x. On quantized tensors only the scale of the type changes: it costs nothing."""

    x: ext.Operand[Any]
    factor: ir.FloatAttr
    y: ext.Result[Any]

    @verifier
    def verify_invariants(op):  # noqa: D102
        result_shape(op, shape(op.operands[0]))
