"""ConvertTorchToGradcam: level 0 to level 1."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith, func

from gradcam.dialect import cam_ops, ops
from gradcam.dialect.methods import EPS, EPS_OF, method_named
from gradcam.dialect.verify import by
from gradcam.errors import GradcamError, fail
from gradcam.faults import Faults
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.torch import torch_ir
from gradcam.passes.torch.call import Call, Cascade, dims, is_placeholder, tensor
from gradcam.passes.torch.conversions import convert
from gradcam.passes.torch.view import View

_log = logging.getLogger(__name__)

_ONLY_F32 = "only f32 is supported: call .float() on the model"


@dataclass(frozen=True)
class ConvertTorchToGradcam(Pass):
    """Converts an imported PyTorch program to gradcam ops and asks for an explanation of every marked target layer.

    All unsupported ops, arguments, types and weights are reported together; the module is then left as it was.

    This pass turns:

        func.func @main(%x: !torch.vtensor<[1,3,8,8],f32>) -> !torch.vtensor<[1,3],f32> {
          %path = torch.constant.str "conv"
          %a = torch.aten.relu %x : !torch.vtensor<[1,3,8,8],f32> -> !torch.vtensor<[1,3,8,8],f32>
          %t = torch.operator "torch.gradcam.target"(%a, %path) : ...
          %logits = ...
          return %logits : !torch.vtensor<[1,3],f32>
        }

    into:

        func.func @main(%image: tensor<1x3x8x8xf32>, %class: tensor<1xi32>) -> (tensor<1x3xf32>, tensor<1x8x8xf32>) {
          %a = "gradcam.relu"(%image) : (tensor<1x3x8x8xf32>) -> tensor<1x3x8x8xf32>
          %t = "gradcam.target"(%a) {path = "conv"} : ...
          %logits = ...
          %map = "gradcam.explain"(%logits, %t, %class)
            {method = "gradcam", relu = true, normalize = true, eps = 1.0e-07 : f64} : ...
          return %logits, %map : tensor<1x3xf32>, tensor<1x8x8xf32>
        }
    """

    name: ClassVar[str] = "convert-torch-to-gradcam"

    #: One of `gradcam.dialect.methods.METHODS`.
    method: str = "gradcam"
    #: Added to the divisors of the method and of the map's normalization; by default as much as pytorch-grad-cam adds.
    eps: float | None = None
    #: Paths of the target layers in the order of the maps; () is program order.
    order: tuple[str, ...] = ()
    #: How many classes are explained at every target layer: the requested or best one, then the best others.
    top_k: int = 1
    #: Side of the blocks of which each map has the means, see `gradcam.pool_map`; 1 leaves the maps as they are.
    pool_map: int = 1

    def run(self, module: ir.Module) -> None:
        """Replaces the only function of `module`; see the class.

        Raises:
            Faults: one line for each problem that prevents the conversion.
        """
        method = method_named(self.method)
        eps = EPS_OF.get(method, EPS) if self.eps is None else self.eps
        if not 0 < eps < math.inf:
            raise GradcamError(f"eps must be positive and finite, got {eps}")
        if self.top_k < 1:
            raise GradcamError(f"top-k must be at least 1, got {self.top_k}")
        if self.pool_map < 1:
            raise GradcamError(f"pool-map must be at least 1, got {self.pool_map}")
        functions = [op.operation for op in module.body.operations]
        if len(functions) != 1 or functions[0].name != "func.func" or not functions[0].regions[0].blocks:
            raise fail(module.operation, f"expects a module with one function with a body, got {len(functions)} ops")
        source = functions[0]
        with module.context, ir.Location.unknown(), ir.InsertionPoint(source):
            conversion = _Conversion(source.regions[0].blocks[0], replace(self, method=method, eps=eps))
            converted = conversion.convert(ir.StringAttr(source.attributes["sym_name"]).value)
        if conversion.faults or conversion.dtypes:
            converted.operation.erase()
            raise Faults([*conversion.faults, *_dtype_faults(conversion.dtypes)])
        source.erase()


class _Conversion:
    """One function on its way from level 0 to level 1."""

    def __init__(self, source: ir.Block, options: ConvertTorchToGradcam) -> None:
        self.source = source
        self.options = options
        self.values: dict[ir.Value, Any] = {}  # `Call.values`
        self.faults: list[GradcamError] = []
        #: Constants that are not f32, by their element type.
        self.dtypes: dict[str, list[ir.Location]] = defaultdict(list)

    def convert(self, name: str) -> Any:
        """Builds the level-1 function, which is valid only when no fault was found."""
        live = torch_ir.live_ops(self.source)
        marked = self._check_targets(live)
        image = self._image_type()
        arguments = [image, *([_class_type()] if marked else [])]
        function = func.FuncOp(name, ir.FunctionType.get(arguments, []), loc=ir.Location.name(name))
        locations = [ir.Location.name(n) for n in ("image", "class")[: len(arguments)]]
        body = ir.Block.create_at_start(function.body, arguments, locations)
        for argument in self.source.arguments:
            self.values[argument] = body.arguments[0] if image != _unknown() else None
        with ir.InsertionPoint(body):
            for op in live:
                self._convert_op(op)
            results = self._results(body)
            func.ReturnOp(results, loc=ir.Location.name(name))
        signature = ir.FunctionType.get(arguments, [result.type for result in results])
        function.attributes["function_type"] = ir.TypeAttr.get(signature)
        return function

    def _check_targets(self, live: list[Any]) -> bool:
        """Returns whether target layers are marked; refuses target layers that no logit depends on."""
        marked = [op.operation for op in self.source.operations if _is_target(op.operation)]
        for dead in (op for op in marked if op not in live):
            self._refuse(dead, "the logits do not depend on the target layer")
        return bool(marked)

    def _targets(self, body: ir.Block) -> list[Any]:
        """The `gradcam.target` ops in the order of the maps; refuses an order that is not one of the marked paths."""
        marked = [op for op in body.operations if isinstance(op, cam_ops.TargetOp)]
        paths = [target.path.value for target in marked]
        order = list(self.options.order) or paths
        if sorted(order) != sorted(paths) or len(set(paths)) < len(paths):
            self._refuse(self.source.owner, f"each of {order} must be marked as a target layer once, found {paths}")
            return []
        return [marked[paths.index(path)] for path in order]

    def _refuse(self, where: Any, message: str) -> None:
        self.faults.append(fail(where, message))

    def _image_type(self) -> ir.Type:
        """Type of the image; `none` when the program's inputs are not those of an image classifier."""
        arguments = self.source.arguments
        function = self.source.owner
        if len(arguments) != 1:
            self._refuse(function, f"the model takes {len(arguments)} inputs; it must take one image")
            return _unknown()
        try:
            image = torch_ir.tensor_type(arguments[0].type)
        except torch_ir.NotStatic:
            self._refuse(function, f"the input has the dynamic type {arguments[0].type}; export without dynamic shapes")
            return _unknown()
        if image.rank != 4 or image.shape[0] != 1:
            self._refuse(function, f"the input has shape {by(image.shape)}; it must be 1xCxHxW (batch size 1)")
        if not isinstance(image.element_type, ir.F32Type):
            self._refuse(function, f"the input is {image.element_type}; {_ONLY_F32}")
        return image

    def _convert_op(self, op: Any) -> None:
        if op.name in torch_ir.ARGUMENTS or torch_ir.is_index(op):
            return
        if op.name == torch_ir.UNPACK:
            self._unpack(op)
            return
        try:
            value = self._constant(op) if op.name == torch_ir.LITERAL else convert(Call(op, self.values))
        except GradcamError as error:
            self.faults.append(error)
            value = _placeholder(op)
        except Cascade:
            value = _placeholder(op)
        self.values[op.results[0]] = value

    def _unpack(self, op: Any) -> None:
        """The tensors of a list; an element that nothing reads is not computed."""
        for result, value in zip(op.results, self.values[op.operands[0]] or [None] * len(op.results), strict=True):
            self.values[result] = value
            if isinstance(value, ir.Value) and not torch_ir.has_uses([result, value]):
                value.owner.erase()

    def _constant(self, op: Any) -> ir.Value:
        """A weight as `arith.constant`; the front end's literals share their bytes with it."""
        value = op.attributes["value"]
        type_ = torch_ir.tensor_type(op.results[0].type)
        if not isinstance(type_.element_type, ir.F32Type):
            self.dtypes[str(type_.element_type)].append(op.location)
        elif not isinstance(value, ir.DenseElementsAttr):
            raise fail(op, "weights are an external resource, which cannot be read; import with gradcam-import")
        elif not np.isfinite(np.asarray(value)).all():
            raise fail(op, "weights contain NaN or infinity")
        return arith.ConstantOp(type_, value, loc=op.location).result

    def _results(self, body: ir.Block) -> list[ir.Value]:
        returned = list(self.source.operations)[-1].operands
        found = self.values.get(returned[0]) if len(returned) == 1 else None
        if len(returned) != 1:
            self._refuse(self.source.owner, f"the model gives {len(returned)} outputs; it must give the logits alone")
        if found is None:
            return []
        view = found if isinstance(found, View) else View.of(found)
        shape, logits = view.shape, _logits(view)
        if logits is None and is_placeholder(view.value) and shape != dims(view.value):
            return []
        if logits is None:
            self._refuse(self.source.owner, f"the output has shape {by(shape)}; it must be logits, 1xK")
            return [view.value]
        targets = [] if self.faults else self._targets(body)
        if not targets:
            return [logits]
        classes = ir.RankedTensorType(logits.type).shape[1]
        if self.options.top_k > classes:
            self._refuse(self.source.owner, f"top-k {self.options.top_k} is more than the {classes} classes there are")
            return [logits]
        for target in targets:
            self._check_blocks(target)
        if len(targets) == self.options.top_k == 1:
            return [logits, self._explain("explain", logits, targets[0], body.arguments[1])]
        classes = self._classes(logits, body.arguments[1])
        return [
            logits,
            *(
                self._explain(_map_name(target if len(targets) > 1 else None, rank), logits, target, cls)
                for target in targets
                for rank, cls in enumerate(classes)
            ),
        ]

    def _classes(self, logits: ir.Value, request: ir.Value) -> list[ir.Value]:
        """The classes that several maps explain, each chosen once."""
        first = cam_ops.SelectClassOp(logits, request, request.type, loc=ir.Location.name("explain.class"))
        classes = [first.result]
        for rank in range(1, self.options.top_k):
            location = ir.Location.name(f"explain.class{rank}")
            classes.append(cam_ops.NextClassOp(logits, list(classes), request.type, loc=location).result)
        return classes

    def _check_blocks(self, target: Any) -> None:
        """Refuses a map that has no block; warns of one that has more than whole blocks."""
        size, height, width = self.options.pool_map, *ir.RankedTensorType(target.y.type).shape[2:]
        if size > min(height, width):
            self._refuse(
                target,
                f"the map at target layer '{target.path.value}' is {height}x{width} and has no block of {size}x{size}; "
                f"pool-map can be at most {min(height, width)} here",
            )
        elif height % size or width % size:
            whole = by([height // size * size, width // size * size])
            _log.warning(
                "the map at target layer '%s' is %dx%d; pool-map %d leaves out what is behind its first %s",
                *(target.path.value, height, width, size, whole),
            )

    def _explain(self, name: str, logits: ir.Value, target: Any, class_: ir.Value) -> ir.Value:
        _, _, height, width = ir.RankedTensorType(target.y.type).shape
        attributes = (
            ir.StringAttr.get(self.options.method),
            ir.BoolAttr.get(True),
            ir.BoolAttr.get(True),
            ir.FloatAttr.get(ir.F64Type.get(), self.options.eps),
        )
        map_type = tensor(1, height, width)
        location, size = ir.Location.name(name), self.options.pool_map
        map_ = cam_ops.ExplainOp(logits, target.y, class_, *attributes, map_type, loc=location).result
        if size == 1 or self.faults:
            return map_
        blocks = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), size)
        pooled = tensor(1, height // size, width // size)
        return cam_ops.PoolMapOp(map_, blocks, pooled, loc=ir.Location.name(f"{name}.pool")).result


def _logits(view: View) -> ir.Value | None:
    """What the program returns as logits, 1xK, also where it returns 1xKx1x1 or K; None where it is something else."""
    shape = list(ir.RankedTensorType(view.value.type).shape)
    if shape[:1] != [1] or not view.is_flat or shape[2:] not in ([], [1, 1]):
        return None
    if len(shape) == 2:
        return view.value
    return ops.FlattenOp(view.value, tensor(*shape[:2]), loc=ir.Location.name("logits")).result


def _map_name(target: Any, rank: int) -> str:
    """Name of the map of a target (None: the only one) and the class of a rank (0: the first one)."""
    path = [target.path.value] if target is not None else []
    return ".".join(["explain", *path, *([f"rank{rank}"] if rank else [])])


def _is_target(op: Any) -> bool:
    return torch_ir.op_name(op) == "gradcam.target"


def _class_type() -> ir.Type:
    return ir.RankedTensorType.get([1], ir.IntegerType.get_signless(32))


def _unknown() -> ir.Type:
    return ir.NoneType.get()


def _placeholder(op: Any) -> ir.Value | None:
    """A value in place of an op that could not be converted, so that later ops are still checked."""
    try:
        type_ = torch_ir.tensor_type(op.results[0].type)
    except torch_ir.NotStatic:
        return None
    return ir.Operation.create("builtin.unrealized_conversion_cast", results=[type_], loc=op.location).results[0]


def _dtype_faults(dtypes: dict[str, list[ir.Location]]) -> list[GradcamError]:
    def message(dtype: str, count: int) -> str:
        others = f", and so are {count - 1} more" if count > 1 else ""
        return f"the constant is {dtype}{others}; {_ONLY_F32}"

    return [fail(where[0], message(dtype, len(where))) for dtype, where in dtypes.items()]
