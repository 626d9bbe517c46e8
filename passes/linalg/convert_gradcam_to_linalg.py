"""convert-gradcam-to-linalg: quantized gradcam ops to linalg on packed integer tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch_mlir import ir
from torch_mlir.dialects import func, quant

from gradcam.dialect.traits import Gradient, has
from gradcam.errors import fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.explanations import class_dependents
from gradcam.passes.ir.platform import Platform
from gradcam.passes.linalg.builders import pad, shape, tensor_type
from gradcam.passes.linalg.forward import LOWERINGS
from gradcam.passes.linalg.lowering import Lowering, users_named
from gradcam.passes.linalg.products import Factors
from gradcam.passes.linalg.values import joined
from gradcam.pe import PE
from gradcam.quant_types import element_type, is_quantized, storage_bits


@dataclass(frozen=True)
class ConvertGradcamToLinalg(Pass):
    """Lowers quantized gradcam ops to linalg on packed integer tensors, every rescale spelled out in arith.

    A feature map becomes HxWxCp with its channels last, padded to whole words of `max(OC, IC)` lanes; weights become
    constants in tiles of OC x IC. Lanes beyond the channels are undefined, and are multiplied by zero weights.

    This pass turns:

        %w = quant.scast %c : tensor<4x3x1x1xi8> to tensor<4x3x1x1x!quant.uniform<i8:f32:0, {...}>>
        %y = "gradcam.conv2d"(%x, %w) {...} : (tensor<1x3x8x8x!quant.uniform<i8:f32, 0.1>>, ...)

    into (pe=4x4):

        %w = arith.constant dense<...> : tensor<1x1x1x1x4x4xi8>
        %acc = linalg.generic {indexing_maps = [(oct, oh, ow, ict, kh, kw, o, i) -> (oh + kh, ...), ...]}
            ins(%x, %w : tensor<8x8x4xi8>, tensor<1x1x1x1x4x4xi8>) outs(%zero : tensor<8x8x4xi32>) {...}
        %y = linalg.generic ins(%acc, %bias, %m : tensor<8x8x4xi32>, tensor<4xi32>, tensor<4xi16>) {
            (acc + bias) * m, rounded, shifted and saturated to i8 }
    """

    name: ClassVar[str] = "convert-gradcam-to-linalg"

    #: OCxIC: output channels times input channels that the array works on in one step, powers of two.

    def run(self, module: Any) -> None:
        """Converts every function of `module`; see `Pass.run`."""
        pe = Platform.of(module.operation).pe
        for op in list(module.body.operations):
            if isinstance(op, func.FuncOp) and not op.is_external:
                _convert_function(op, pe)


def _convert_function(old: Any, pe: PE) -> None:
    with ir.Location.unknown(old.context), old.location:
        new = func.FuncOp("unnamed", ([_argument_type(old, a) for a in old.arguments], []), ip=ir.InsertionPoint(old))
        block = new.add_entry_block([a.location for a in old.arguments])
        lowering = Lowering(pe, Factors.of(old), gradients=class_dependents(old))
        with ir.InsertionPoint(block):
            for before, after in zip(old.arguments, block.arguments, strict=True):
                lowering.values[before] = _to_lanes(after, pe)
            for op in old.entry_block.operations:
                _convert_op(op.operation, lowering)
        returned = [v.type for v in block.operations[len(block.operations) - 1].operands]
        signature = ir.FunctionType.get([a.type for a in block.arguments], returned)
        for name in old.attributes:
            new.attributes[name] = old.attributes[name]
        new.attributes["function_type"] = ir.TypeAttr.get(signature)
    old.erase()


def _argument_type(function: Any, argument: ir.Value) -> ir.Type:
    """1xCxHxW quantized becomes HxWxC of the storage type; a class request stays."""
    type_ = ir.RankedTensorType(argument.type)
    if isinstance(type_.element_type, ir.IntegerType):
        return type_
    if type_.rank != 4 or not is_quantized(type_):
        raise fail(function, f"an input must be a 1xCxHxW quantized image or an integer tensor, got {type_}")
    _, c, h, w = type_.shape
    return tensor_type([h, w, c], storage_bits(type_))


def _to_lanes(argument: ir.Value, pe: PE) -> ir.Value:
    dims = shape(argument)
    if len(dims) != 3:
        return argument
    return pad(argument, [0, 0, 0], [0, 0, pe.padded(dims[2]) - dims[2]], 0)


def _convert_op(op: Any, lowering: Lowering) -> None:
    if op.name in ("arith.constant", "quant.scast"):
        return  # constants are packed where they are used
    if op.name not in LOWERINGS:
        raise fail(op, f"'{op.name}' has no lowering to linalg")
    per_channel = has(op, Gradient)
    allowed = quant.QuantizedType if per_channel else quant.UniformQuantizedType
    for value in [*op.operands[:1], *op.results]:
        if not isinstance(element_type(value), allowed | ir.IntegerType):
            how = "" if per_channel else " with one scale per tensor"
            raise fail(op, f"'{op.name}' must be quantized{how}, got {value.type}; run gradcam-quantize")
    with op.location:
        results = LOWERINGS[op.name](lowering, op)
        for before, after in zip(op.results, results, strict=True):
            # Parts go on apart to one reader, or to copies that are made of them at once; several other readers read
            # them from where they are stored.
            copies = len(users_named(before, "gradcam.requantize"))
            is_one = len(list(before.uses)) in (1, copies)
            lowering.values[before] = after if is_one else joined(after)
