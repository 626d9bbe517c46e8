"""convert-gradcam-to-linalg: quantized gradcam ops to linalg on packed integer tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch_mlir import ir
from torch_mlir.dialects import bufferization, func, memref, quant

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

#: Ops with integers besides those of a rescale, which follow from scales: bounds, bends, tables, factors.
_HARDWIRED = ("batch_norm", "batch_norm_adjoint", "clamp", "function", "function_slope", "hard_sigmoid", "hard_swish")
_HARDWIRED = frozenset(f"gradcam.{name}" for name in (*_HARDWIRED, "hard_swish_slope", "hardtanh", "prelu_slope"))


def is_hardwired(op: Any) -> bool:
    """Whether the hardware of a quantized op depends on scales although weights are resident."""
    if op.operation.name == "gradcam.mask":
        return any(bound not in (0, -math.inf, math.inf) for bound in (op.lo.value, op.hi.value))
    return op.operation.name in _HARDWIRED


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

    Resident weights, and the constants of every rescale, are in memory instead, so that no later pass knows them:

        memref.global "private" @parameter0 : memref<1x1x1x1x4x4xi8> = dense<...>
        %g = memref.get_global @parameter0 : memref<1x1x1x1x4x4xi8>
        %w = bufferization.to_tensor %g restrict : memref<1x1x1x1x4x4xi8> to tensor<1x1x1x1x4x4xi8>
    """

    name: ClassVar[str] = "convert-gradcam-to-linalg"

    #: OCxIC: output channels times input channels that the array works on in one step, powers of two.

    def run(self, module: Any) -> None:
        """Converts every function of `module`; see `Pass.run`."""
        platform = Platform.of(module.operation)
        for op in list(module.body.operations):
            if isinstance(op, func.FuncOp) and not op.is_external:
                _convert_function(op, platform.pe, platform.resident)


def _convert_function(old: Any, pe: PE, resident: bool) -> None:
    with ir.Location.unknown(old.context), old.location:
        new = func.FuncOp("unnamed", ([_argument_type(old, a) for a in old.arguments], []), ip=ir.InsertionPoint(old))
        block = new.add_entry_block([a.location for a in old.arguments])
        lowering = Lowering(pe, Factors.of(old), resident, gradients=class_dependents(old))
        with ir.InsertionPoint(block):
            for before, after in zip(old.arguments, block.arguments, strict=True):
                lowering.values[before] = _to_lanes(after, pe)
            for op in old.entry_block.operations:
                _convert_op(op.operation, lowering)
        if resident:
            _put_into_memory(new)
        returned = [v.type for v in block.operations[len(block.operations) - 1].operands]
        signature = ir.FunctionType.get([a.type for a in block.arguments], returned)
        for name in old.attributes:
            new.attributes[name] = old.attributes[name]
        new.attributes["function_type"] = ir.TypeAttr.get(signature)
    old.erase()


def _put_into_memory(function: Any) -> None:
    """Replaces constant tensors, but for tables that a lookup is made of, by memories with their contents.

    Equal constants stay several, and the elements of a constant are unknown, even where all of them are equal.
    """
    block, made = function.entry_block, function.operation.parent.regions[0].blocks[0].operations
    number = sum(op.operation.name == "memref.global" for op in made)
    for op in list(block.operations):
        value = op.results[0] if op.operation.name == "arith.constant" else None
        if value is None or not isinstance(value.type, ir.RankedTensorType) or users_named(value, "tensor.extract"):
            continue
        type_ = ir.MemRefType.get(value.type.shape, ir.RankedTensorType(value.type).element_type)
        name, private = f"parameter{number}", ir.StringAttr.get("private")
        with ir.InsertionPoint(function):
            memref.GlobalOp(name, ir.TypeAttr.get(type_), sym_visibility=private, initial_value=op.attributes["value"])
        with op.location, ir.InsertionPoint.at_block_begin(block):
            source = memref.get_global(type_, name)
            value.replace_all_uses_with(bufferization.to_tensor(value.type, source, restrict=True))
        op.operation.erase()
        number += 1


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
