"""convert-linalg-to-affine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch_mlir import ir
from torch_mlir.dialects import func, memref

from gradcam.errors import fail
from gradcam.passes.affine.insert_chains import Chain, Part, insert_chains
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir import affine_ir
from gradcam.passes.ir.attributes import NAME
from gradcam.passes.ir.explanations import map_names
from gradcam.passes.ir.linear_form import Linear, map_forms, plus, substitute, symbol
from gradcam.passes.ir.queries import int_constant, is_global, main_function, result_locations

#: Names of the function's arguments in the RTL; further arguments are called arg2, arg3, ...
INPUTS = ("image", "class_select")


@dataclass(frozen=True)
class ConvertLinalgToAffine(Pass):
    """Lowers every linalg op on tensors to a perfect affine.for nest on buffers, arguments and results to copies.

    Padding needs no halo: a load from a padded tensor becomes an affine.if around the load of the unpadded buffer. A
    slice of a tensor becomes an offset and strides in the access. A slice that is inserted into a tensor is stored in
    place by the nest that computes it. Upstream bufferization would copy all three. A lookup in a constant table stays
    one.

    This pass turns:

        %p = tensor.pad %x low[1, 1, 0] high[1, 1, 0] ...
        %y = linalg.generic ins(%p, %w) outs(%zero) { arith.extsi, arith.muli, arith.addi }

    into:

        affine.for %o = 0 to 64 { ... affine.store %c0, %y[...] }
        affine.for %oct = 0 to 4 { affine.for %oh = 0 to 8 { ...
          %v = affine.if affine_set<(oh, kh) : (oh + kh - 1 >= 0, ...)>(...) { affine.load %x[...] } else { %c0 }
          ... affine.store %sum, %y[...]
    """

    name: ClassVar[str] = "convert-linalg-to-affine"

    def run(self, module: ir.Module) -> None:
        """Replaces the module's function on tensors by one on buffers, results as trailing arguments."""
        with module.context, ir.Location.unknown():
            _Converter(module).convert()


@dataclass
class _View:
    """The elements of a tensor in memory: a buffer, index forms over placeholder dimensions, guards of the padding."""

    memref: ir.Value
    forms: list[Linear]
    guards: list[Linear] = field(default_factory=list)
    otherwise: ir.Value | None = None

    def at(self, indices: list[Linear]) -> tuple[list[Linear], list[Linear]]:
        """Index forms and guards with the placeholders 0, 1, ... replaced by `indices`."""
        by = dict(enumerate(indices))
        return [substitute(f, by) for f in self.forms], [substitute(g, by) for g in self.guards]

    @property
    def is_whole(self) -> bool:
        """Whether every element has the same indices in the buffer as in the tensor."""
        return self.forms == [{i: 1} for i in range(len(self.forms))]


def _static(type_: ir.Type) -> bool:
    return isinstance(type_, ir.RankedTensorType) and type_.has_static_shape


def _memref_type(type_: ir.Type) -> ir.MemRefType:
    tensor = ir.RankedTensorType(type_)
    return ir.MemRefType.get(tensor.shape, tensor.element_type)


def _identity(memref_: ir.Value) -> _View:
    return _View(memref_, [{i: 1} for i in range(ir.MemRefType(memref_.type).rank)])


class _Converter:
    def __init__(self, module: ir.Module) -> None:
        self.old = main_function(module)
        self.block = self.old.regions[0].blocks[0]
        self.insertions = insert_chains(self.block)
        self.wholes: dict[Chain, _View] = {}
        self.views: dict[ir.Value, _View] = {}
        self.fills: dict[ir.Value, ir.Value] = {}
        self.symbols: dict[ir.Value, Any] = {}
        self.values: dict[ir.Value, ir.Value] = {}
        self.globals = 0

    def convert(self) -> None:
        inputs = list(self.block.arguments)
        outputs = list(list(self.block.operations)[-1].operands)
        for value in inputs + outputs:
            if not _static(value.type):
                raise fail(self.old, f"arguments and results must be tensors of static shape, not {value.type}")
        types = [_memref_type(v.type) for v in inputs + outputs]
        name = ir.StringAttr(self.old.attributes["sym_name"]).value
        with ir.InsertionPoint(self.old), self.old.location:
            new = func.FuncOp(name, ir.FunctionType.get(types, []))
            for attribute in self.old.attributes:
                if attribute.startswith("gradcam."):
                    new.attributes[attribute] = self.old.attributes[attribute]
            new.attributes["llvm.emit_c_interface"] = ir.UnitAttr.get()
            names = _input_names(len(inputs)) + _output_names(len(outputs))
            new.attributes["arg_attrs"] = ir.ArrayAttr.get(
                [ir.DictAttr.get({NAME.key: ir.StringAttr.get(n)}) for n in names]
            )
            entry = new.add_entry_block()
        with ir.InsertionPoint(entry):
            for value, argument, label in zip(inputs, entry.arguments, names, strict=False):
                with ir.Location.name(label):
                    self._input(value, argument)
            for op in list(self.block.operations)[:-1]:
                with next(iter(result_locations(op)), op.location):
                    self._op(op)
            for value, argument, label in zip(
                outputs, list(entry.arguments)[len(inputs) :], names[len(inputs) :], strict=True
            ):
                with ir.Location.name(label):
                    view = self._view(self.old, value)
                    self._copy(view, _identity(argument), list(ir.MemRefType(argument.type).shape))
            with self.old.location:
                func.ReturnOp([])
        self.old.operation.erase()

    def _view(self, op: Any, value: ir.Value) -> _View:
        if value not in self.views:
            raise fail(op, "a tensor is read that is no argument, no constant and no result of a linalg.generic")
        return self.views[value]

    def _input(self, value: ir.Value, argument: ir.Value) -> None:
        """An argument of more than one element is a stream: it is copied into a buffer with its users' lanes."""
        shape = list(ir.MemRefType(argument.type).shape)
        if shape == [1]:
            self.views[value] = _identity(argument)
            return
        pads = [u.owner for u in value.uses if u.owner.operation.name == "tensor.pad"]
        lanes = max(
            (shape[-1] + list(ir.DenseI64ArrayAttr(p.attributes["static_high"]))[-1] for p in pads), default=shape[-1]
        )
        element = ir.MemRefType(argument.type).element_type
        buffer = memref.alloc(ir.MemRefType.get([*shape[:-1], lanes], element), [], [])
        self._copy(_identity(argument), _identity(buffer), shape)
        self.views[value] = _identity(buffer)

    def _copy(self, source: _View, target: _View, shape: list[int]) -> None:
        ivs, block = affine_ir.for_loops(shape)
        with ir.InsertionPoint.at_block_begin(block):
            forms, guards = source.at([{iv: 1} for iv in ivs])
            value = affine_ir.guarded_load(source.memref, forms, guards, source.otherwise)
            affine_ir.store(value, target.memref, target.at([{iv: 1} for iv in ivs])[0])

    def _op(self, op: Any) -> None:
        name = op.operation.name
        handler = {
            "arith.constant": self._constant,
            "memref.get_global": lambda op: affine_ir.clone_into(op, self.values),
            "bufferization.to_tensor": self._in_memory,
            "tensor.empty": lambda _: None,
            "tensor.pad": self._pad,
            "tensor.extract_slice": self._slice,
            "tensor.insert_slice": self._insert,
            "tensor.extract": self._extract,
            "linalg.fill": self._fill,
            "linalg.generic": self._generic,
        }.get(name)
        if handler is not None:
            handler(op)
        elif name in ("arith.index_cast", "arith.floordivsi", "arith.remsi"):
            self._index(op)
        else:
            raise fail(op, f"'{name}' has no affine form here; run convert-gradcam-to-linalg and canonicalize first")

    def _constant(self, op: Any) -> None:
        value = op.results[0]
        if not isinstance(value.type, ir.RankedTensorType):
            affine_ir.clone_into(op, self.values)
            return
        name = f"constant{self.globals}"
        self.globals += 1
        type_ = _memref_type(value.type)
        with ir.InsertionPoint(self.old):
            # Not marked as constant: canonicalize would fold loads of a constant whose elements are all equal, and the
            # body of its nest would be another engine's. What runs where must not depend on the values of weights.
            private = ir.StringAttr.get("private")
            memref.GlobalOp(name, ir.TypeAttr.get(type_), sym_visibility=private, initial_value=op.attributes["value"])
        self.views[value] = _identity(memref.get_global(type_, name))

    def _in_memory(self, op: Any) -> None:
        self.views[op.results[0]] = _identity(self._value(op.operands[0]))

    def _pad(self, op: Any) -> None:
        source = self._view(op, op.operands[0])
        low, high = (list(ir.DenseI64ArrayAttr(op.attributes[n])) for n in ("static_low", "static_high"))
        padding = list(op.regions[0].blocks[0].operations)[-1].operands[0]
        if int_constant(padding) is None or source.guards or len(op.operands) != 1:
            raise fail(op, "tensor.pad must pad, by constant amounts and with a constant, what is not padded already")
        inner = list(ir.RankedTensorType(op.operands[0].type).shape)
        # The buffer of an argument already has the lanes that the padding adds.
        shape = list(ir.MemRefType(source.memref.type).shape) if source.is_whole else inner
        indices = [plus({i: 1}, {None: -lo}) for i, lo in enumerate(low)]
        guards = []
        for i, (lo, hi) in enumerate(zip(low, high, strict=True)):
            if lo:
                guards.append(indices[i])
            if hi > shape[i] - inner[i]:
                guards.append(plus({None: shape[i] - 1}, indices[i], -1))
        forms, _ = source.at(indices)
        self.views[op.results[0]] = _View(source.memref, forms, guards, self._value(padding))

    def _slice(self, op: Any) -> None:
        source = self._view(op, op.operands[0])
        offsets, sizes, strides = (
            list(ir.DenseI64ArrayAttr(op.attributes[f"static_{n}"])) for n in ("offsets", "sizes", "strides")
        )
        dynamic = iter(list(op.operands)[1:])
        kept = list(ir.RankedTensorType(op.results[0].type).shape)
        indices: list[Linear] = []
        position = 0
        for offset, size, stride in zip(offsets, sizes, strides, strict=True):
            is_dynamic = offset == ir.ShapedType.get_dynamic_size()
            base: Linear = self._offset(next(dynamic)) if is_dynamic else plus({}, {None: offset})
            # As the op defines it: a dimension that does not match the result's next one is a unit dimension to drop.
            if position < len(kept) and kept[position] == size:
                base = plus(base, {position: stride})
                position += 1
            indices.append(base)
        forms, guards = source.at(indices)
        self.views[op.results[0]] = _View(source.memref, forms, guards, source.otherwise)

    def _offset(self, value: ir.Value) -> Linear:
        constant = int_constant(value)
        return self.symbols[value] if constant is None else plus({}, {None: constant})

    def _extract(self, op: Any) -> None:
        view = self._view(op, op.operands[0])
        if list(ir.MemRefType(view.memref.type).shape) != [1]:
            raise fail(op, "tensor.extract reads only tensors of one element, such as the class")
        zero = ir.Operation.create(
            "arith.constant", [ir.IndexType.get()], [], {"value": ir.IntegerAttr.get(ir.IndexType.get(), 0)}
        )
        self.values[op.results[0]] = memref.load(view.memref, [zero.results[0]])

    def _index(self, op: Any) -> None:
        """Index arithmetic on the class: a symbol of the accesses that use it."""
        if op.operation.name == "arith.index_cast":
            affine_ir.clone_into(op, self.values)
            self.symbols[op.results[0]] = symbol(self.values[op.results[0]])
            return
        divisor = int_constant(op.operands[1])
        ((_, value, before),) = self.symbols.get(op.operands[0], {("", None, 0): 1})
        if before != 1 or divisor is None:
            raise fail(op, "an index must be read from a tensor and may be divided once, by a constant")
        # The class is never negative here, so truncating and flooring agree.
        name = "mod" if op.operation.name == "arith.remsi" else "floordiv"
        self.symbols[op.results[0]] = {(name, value, divisor): 1}

    def _fill(self, op: Any) -> None:
        self.fills[op.results[0]] = self._value(op.operands[0])

    def _value(self, value: ir.Value) -> ir.Value:
        return self.values.get(value, value)

    def _generic(self, op: Any) -> None:
        maps = [ir.AffineMapAttr(a).value for a in ir.ArrayAttr(op.attributes["indexing_maps"])]
        outputs = list(op.operands)[len(op.operands) - len(op.results) :]
        inputs = list(op.operands)[: len(op.operands) - len(op.results)]
        body = op.regions[0].blocks[0]
        targets = []
        for result, location in zip(op.results, result_locations(op), strict=True):
            with location:
                targets.append(self._target(result))
        self.views |= zip(op.results, targets, strict=True)
        for output, target, argument in zip(outputs, targets, list(body.arguments)[len(inputs) :], strict=True):
            if list(argument.uses):
                self._initialize(op, output, target)
        ivs, block = affine_ir.for_loops(_trips(op, maps))
        dims: list[Linear] = [{iv: 1} for iv in ivs]
        values = dict(self.values)
        with ir.InsertionPoint.at_block_begin(block):
            places = [map_forms(op, m, dims) for m in maps]
            for argument, value, place in zip(body.arguments, [*inputs, *op.results], places, strict=True):
                if not isinstance(value.type, ir.RankedTensorType):
                    values[argument] = self._value(value)
                elif list(argument.uses):
                    view = self._view(op, value)
                    forms, guards = view.at(place)
                    values[argument] = affine_ir.guarded_load(view.memref, forms, guards, view.otherwise)
            *ops, yielded = list(body.operations)
            for inner in ops:
                if inner.operation.name == "linalg.index":
                    values[inner.results[0]] = ivs[ir.IntegerAttr(inner.attributes["dim"]).value]
                elif inner.operation.name == "tensor.extract":
                    values[inner.results[0]] = self._looked_up(inner, values)
                else:
                    affine_ir.clone_into(inner, values)
            for value, target, place in zip(yielded.operands, targets, places[len(inputs) :], strict=True):
                affine_ir.store(values.get(value, value), target.memref, target.at(place)[0])

    def _looked_up(self, op: Any, values: dict[ir.Value, ir.Value]) -> ir.Value:
        """The entry of a constant table at an index that is computed in the nest."""
        entries, *indices = op.operands
        view = self._view(op, entries)
        if len(indices) != 1 or not (is_global(view.memref) and view.is_whole):
            raise fail(op, "a nest can only look values up in a constant of one dimension")
        return memref.load(view.memref, [values.get(indices[0], indices[0])])

    def _target(self, result: ir.Value) -> _View:
        """The view to which a nest stores its result: a buffer, or a part of the tensor that it is inserted into."""
        if result not in self.insertions.in_place:
            return _identity(memref.alloc(_memref_type(result.type), [], []))
        return self._part(self.insertions.in_place[result])

    def _part(self, part: Part) -> _View:
        """A slice of a chain in the buffer of the chain."""
        whole = self._whole(part.chain)
        return _View(whole.memref, whole.at(part.forms)[0])

    def _whole(self, chain: Chain) -> _View:
        """The buffer of a chain of insertions, filled first where the chain starts from linalg.fill."""
        if chain not in self.wholes:
            if chain.inside is None:
                with chain.parts[-1].op.location:
                    whole = _identity(memref.alloc(_memref_type(chain.result.type), [], []))
            else:
                whole = self._part(chain.inside)
            self.wholes[chain] = whole
            if chain.root.operation.name == "linalg.fill":
                constant = chain.root.operands[0]
                with chain.root.location:
                    if constant not in self.values:  # it stands behind the first op that makes a slice
                        affine_ir.clone_into(constant.owner, self.values)
                    self._store_everywhere(self._value(constant), whole, chain.result)
        return self.wholes[chain]

    def _insert(self, op: Any) -> None:
        """The whole, as far as its slices are inserted: nothing but the next insertion reads it before the last one."""
        source, part = op.operands[0], self.insertions.by_op[op.results[0]]
        inner = self.insertions.by_op.get(source)
        is_there = inner is not None and inner.chain.inside is part
        if not is_there and self.insertions.in_place.get(source) is not part:
            self._copy(self._view(op, source), self._part(part), part.sizes)
        self.views[op.results[0]] = self._whole(part.chain)

    def _initialize(self, op: Any, output: ir.Value, target: _View) -> None:
        if output not in self.fills:
            raise fail(op, "an accumulator must start from linalg.fill")
        self._store_everywhere(self.fills[output], target, output)

    def _store_everywhere(self, value: ir.Value, target: _View, like: ir.Value) -> None:
        """Stores a value in all elements of a view of the shape of `like`."""
        ivs, block = affine_ir.for_loops(list(ir.RankedTensorType(like.type).shape))
        with ir.InsertionPoint.at_block_begin(block):
            affine_ir.store(value, target.memref, target.at([{iv: 1} for iv in ivs])[0])


def _input_names(count: int) -> list[str]:
    return [INPUTS[i] if i < len(INPUTS) else f"arg{i}" for i in range(count)]


def _output_names(count: int) -> list[str]:
    """Names of the function's results in the RTL."""
    return ["logits", *map_names(count - 1)][:count]


def _trips(op: Any, maps: list[ir.AffineMap]) -> list[int]:
    """Trip count of every iteration dimension; linalg guarantees that each alone indexes some tensor dimension."""
    trips: dict[int, int] = {}
    for map_, operand in zip(maps, op.operands, strict=True):
        if isinstance(operand.type, ir.RankedTensorType):
            for expr, size in zip(map_.results, operand.type.shape, strict=True):
                if isinstance(expr, ir.AffineDimExpr):
                    trips[expr.position] = size
    return [trips[d] for d in range(maps[0].n_dims)]
