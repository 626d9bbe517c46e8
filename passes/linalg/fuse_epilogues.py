"""fuse-epilogues: chains of elementwise linalg ops to one op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch_mlir import ir
from torch_mlir.dialects import linalg

from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.queries import owner_name, result_locations


@dataclass(frozen=True)
class FuseEpilogues(Pass):
    """Fuses an elementwise `linalg.generic` into the only op that reads its result, if that is elementwise, too.

    The ops behind a reduction (bias, rescale, residual, relu) become one epilogue. Upstream's
    linalg-fuse-elementwise-ops would also pull an epilogue into the next convolution, which would repeat it for every
    product. It would also fold a bias or multiplier that is equal in all channels into the body, which would keep equal
    epilogues from sharing hardware. The fused op has the consumer's location, since the consumer's tensor is stored. A
    consumer may have several results, such as a value and its mask; a producer has one.

    A producer whose result has other readers, too, is joined with a consumer that reads nothing else but constants,
    such as the batch norm of a residual sum: the fused op yields the results of both, and the consumer takes no step.

    This pass turns:

        %r = linalg.generic ins(%acc, %bias, %m) {addi, muli, addi, shrsi, trunci}
        %y = linalg.generic ins(%r, %x) {addi, maxsi, minsi, trunci}

    into:

        %y = linalg.generic ins(%acc, %bias, %m, %x) {addi, muli, addi, shrsi, trunci, addi, maxsi, minsi, trunci}
    """

    name: ClassVar[str] = "fuse-epilogues"

    def run(self, module: Any) -> None:
        """Fuses within every function of `module`; see `Pass.run`."""
        for op in _generics(module):
            # Producers come first in program order, so that each is already one op when its consumer is met.
            if _is_elementwise(op):
                _fuse_producers(op)
        for op in _generics(module):
            if (producer := _joinable(op)) is not None:
                _join(producer, op)


def _generics(module: Any) -> list[ir.Operation]:
    """The `linalg.generic` ops of a module in program order."""
    found: list[ir.Operation] = []

    def collect(op: ir.Operation) -> ir.WalkResult:
        if op.name == "linalg.generic":
            found.append(op)
        return ir.WalkResult.ADVANCE

    module.operation.walk(collect, ir.WalkOrder.PRE_ORDER)
    return found


def _maps(op: ir.Operation) -> list[ir.AffineMap]:
    return [ir.AffineMapAttr(a).value for a in ir.ArrayAttr(op.attributes["indexing_maps"])]


def _is_generic(owner: Any) -> bool:
    return isinstance(owner, ir.Operation | ir.OpView) and owner.operation.name == "linalg.generic"


def _is_parallel(op: ir.Operation) -> bool:
    return all("parallel" in str(i) for i in ir.ArrayAttr(op.attributes["iterator_types"]))


def _is_identity(map_: ir.AffineMap) -> bool:
    return map_ == ir.AffineMap.get_identity(map_.n_dims, map_.context)


def _is_elementwise(op: ir.Operation) -> bool:
    """Whether the results of an op are indexed by its loops themselves, and do not depend on initial values."""
    initial = list(op.regions[0].blocks[0].arguments)[-len(op.results) :]
    in_order = all(_is_identity(m) for m in _maps(op)[-len(op.results) :])
    return _is_parallel(op) and in_order and not any(list(value.uses) for value in initial)


def _fuse_producers(consumer: ir.Operation) -> None:
    while (index := _next_producer(consumer)) is not None:
        consumer = _fuse(consumer.operands[index].owner.operation, consumer, index)


def _next_producer(consumer: ir.Operation) -> int | None:
    """The number of the operand whose producer is to be fused next.

    An epilogue reads the accumulators of one reduction. In a sum of two convolutions the later convolution is fused;
    the epilogue of the earlier one stores its result.
    """
    maps, has_accumulator = _maps(consumer), _reads_accumulator(consumer)
    chosen = None
    for index, operand in enumerate(list(consumer.operands)[: -len(consumer.results)]):
        producer = operand.owner
        if not _is_fusable(producer, maps[index]) or (has_accumulator and _reads_accumulator(producer)):
            continue
        if chosen is None or consumer.operands[chosen].owner.operation.is_before_in_block(producer.operation):
            chosen = index
    return chosen


def _is_fusable(producer: Any, read: ir.AffineMap) -> bool:
    return (
        _is_generic(producer)
        and _is_identity(read)
        and len(producer.results) == 1
        and len(list(producer.results[0].uses)) == 1
        and _is_elementwise(producer.operation)
    )


def _reads_accumulator(op: Any) -> bool:
    """Whether `op` reads accumulators: the i32 result of a reduction, or lanes of it."""

    def is_accumulator(value: ir.Value) -> bool:
        owner = value.owner
        if not isinstance(owner, ir.Block) and owner.operation.name == "tensor.extract_slice":
            return is_accumulator(owner.operands[0])
        sums = _is_generic(owner) and not _is_parallel(owner.operation)
        return sums and ir.RankedTensorType(value.type).element_type == ir.IntegerType.get_signless(32, op.context)

    return any(map(is_accumulator, op.operands))


class _Port(NamedTuple):
    """An operand of a `linalg.generic`: its value, its indexing map and the argument of the body that it becomes."""

    value: ir.Value
    map: ir.AffineMap
    argument: ir.BlockArgument


def _ports(op: ir.Operation) -> tuple[list[_Port], list[_Port]]:
    """The inputs and the initial values of an op."""
    block = op.regions[0].blocks[0]
    ports = [_Port(*parts) for parts in zip(op.operands, _maps(op), block.arguments, strict=True)]
    return ports[: -len(op.results)], ports[-len(op.results) :]


def _fuse(producer: ir.Operation, consumer: ir.Operation, index: int) -> ir.Operation:
    """Replaces `consumer` by one op that reads the producer's inputs instead of operand `index`."""
    inputs, outputs = _ports(consumer)
    before, after = inputs[:index], inputs[index + 1 :]
    with consumer.location, ir.InsertionPoint(consumer):
        fused, body = _generic([*before, *_ports(producer)[0], *after], outputs, consumer)
    *steps, result = producer.regions[0].blocks[0].operations
    inputs[index].argument.replace_all_uses_with(result.operands[0])
    for step in [*steps, *consumer.regions[0].blocks[0].operations]:
        body.append(step)
    _replace([consumer], fused)
    producer.erase()
    return fused.operation


def _generic(inputs: list[_Port], outputs: list[_Port], like: ir.Operation) -> tuple[Any, ir.Block]:
    """An op with the loops of `like`, and its empty body, whose arguments take the place of those of the ports."""
    ports = [*inputs, *outputs]
    op = linalg.GenericOp(
        [port.value.type for port in outputs],
        [port.value for port in inputs],
        [port.value for port in outputs],
        ir.ArrayAttr.get([ir.AffineMapAttr.get(port.map) for port in ports]),
        like.attributes["iterator_types"],
    )
    arguments = [port.argument for port in ports]
    body = op.regions[0].blocks.append(*(a.type for a in arguments), arg_locs=[a.location for a in arguments])
    for old, new in zip(arguments, body.arguments, strict=True):
        old.replace_all_uses_with(new)
    return op, body


def _replace(ops: list[ir.Operation], by: Any) -> None:
    """Replaces the results of ops by those of one op, in order, and erases the ops."""
    for old, new in zip([r for op in ops for r in op.results], by.results, strict=True):
        old.replace_all_uses_with(new)
    for op in reversed(ops):
        op.erase()


def _joinable(consumer: ir.Operation) -> ir.Operation | None:
    """The elementwise op whose results and constants are all that an elementwise op reads; None where there is none."""
    made = [port for port in _ports(consumer)[0] if not _is_constant(port.value)]
    producer = made[0].value.owner if made else None
    if producer is None or not (_is_generic(producer) and _is_elementwise(consumer)):
        return None
    if not _is_elementwise(producer.operation):
        return None
    alone = all(port.value.owner == producer and _is_identity(port.map) for port in made)
    alone = alone and all(map(_is_constant, _captured(consumer)))
    alone = alone and _wholes(producer.operation).isdisjoint(_wholes(consumer))
    return producer.operation if alone and producer.operation.block == consumer.block else None


def _wholes(op: ir.Operation) -> set[ir.Value]:
    """The tensors that results of an op are inserted into: a nest can store one element of a buffer in a step."""
    inserted = [u.owner for r in op.results for u in r.uses if u.owner.operation.name == "tensor.insert_slice"]
    return {
        whole for insertion in inserted for whole in _wholes(insertion.operation) or {insertion.operation.results[0]}
    }


def _is_constant(value: ir.Value) -> bool:
    return owner_name(value) in ("arith.constant", "bufferization.to_tensor")


def _captured(op: ir.Operation) -> list[ir.Value]:
    """The values from outside that the body of an op reads by name, such as the table of a lookup."""
    body = op.regions[0].blocks[0]
    return [
        value
        for step in body.operations
        for value in step.operands
        if value.owner != body and (isinstance(value.owner, ir.Block) or value.owner.operation.block != body)
    ]


def _distinct(locations: list[ir.Location]) -> list[ir.Location]:
    """The locations by the same names, none twice: a fused location keeps one of equal ones, as of the two halves."""
    found: list[ir.Location] = []
    for location in locations:
        while isinstance(location, ir.NameLoc) and location in found:
            location = ir.Location.name(location.name_str, location)
        found.append(location)
    return found


def _join(producer: ir.Operation, consumer: ir.Operation) -> None:
    """Replaces both ops by one, in the producer's place, that yields the results of both."""
    (inputs, outputs), (read, written) = _ports(producer), _ports(consumer)
    others = [port for port in read if _is_constant(port.value)]
    values = [*(port.value for port in [*others, *written]), *_captured(consumer)]
    for owner in (value.owner.operation for value in values):
        if producer.is_before_in_block(owner):
            owner.move_before(producer)
    locations = _distinct([*result_locations(producer), *result_locations(consumer)])
    with ir.Location.fused(locations), ir.InsertionPoint(producer):
        joined, body = _generic([*inputs, *others], [*outputs, *written], producer)
    *steps, results = producer.regions[0].blocks[0].operations
    *more, last = consumer.regions[0].blocks[0].operations
    for port in read:
        if port not in others:
            port.argument.replace_all_uses_with(results.operands[ir.OpResult(port.value).result_number])
    for step in [*steps, *more]:
        body.append(step)
    with consumer.location, ir.InsertionPoint(body):
        linalg.yield_([*results.operands, *last.operands])
    _replace([producer, consumer], joined)
