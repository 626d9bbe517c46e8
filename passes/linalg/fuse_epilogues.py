"""fuse-epilogues: chains of elementwise linalg ops to one op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch_mlir import ir
from torch_mlir.dialects import linalg

from gradcam.passes.infra.pass_base import Pass


@dataclass(frozen=True)
class FuseEpilogues(Pass):
    """Fuses an elementwise `linalg.generic` into the only op that reads its result, if that is elementwise, too.

    The ops behind a reduction (bias, rescale, residual, relu) become one epilogue. Upstream's
    linalg-fuse-elementwise-ops would also pull an epilogue into the next convolution, which would repeat it for every
    product. It would also fold a bias or multiplier that is equal in all channels into the body, which would keep equal
    epilogues from sharing hardware. The fused op has the consumer's location, since the consumer's tensor is stored. A
    consumer may have several results, such as a value and its mask; a producer has one.

    This pass turns:

        %r = linalg.generic ins(%acc, %bias, %m) {addi, muli, addi, shrsi, trunci}
        %y = linalg.generic ins(%r, %x) {addi, maxsi, minsi, trunci}

    into:

        %y = linalg.generic ins(%acc, %bias, %m, %x) {addi, muli, addi, shrsi, trunci, addi, maxsi, minsi, trunci}
    """

    name: ClassVar[str] = "fuse-epilogues"

    def run(self, module: Any) -> None:
        """Fuses within every function of `module`; see `Pass.run`."""
        found: list[ir.Operation] = []

        def collect(op: ir.Operation) -> ir.WalkResult:
            if op.name == "linalg.generic":
                found.append(op)
            return ir.WalkResult.ADVANCE

        module.operation.walk(collect, ir.WalkOrder.PRE_ORDER)
        for op in found:
            # Producers come first in program order, so that each is already one op when its consumer is met.
            if _is_elementwise(op):
                _fuse_producers(op)


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
    """Whether `op` reads accumulators: the i32 result of a reduction."""
    return any(
        _is_generic(operand.owner)
        and not _is_parallel(operand.owner.operation)
        and ir.RankedTensorType(operand.type).element_type == ir.IntegerType.get_signless(32, op.context)
        for operand in op.operands
    )


def _fuse(producer: ir.Operation, consumer: ir.Operation, index: int) -> ir.Operation:
    """Replaces `consumer` by one op that reads the producer's inputs instead of operand `index`."""
    results = list(consumer.results)
    first, second = (op.regions[0].blocks[0] for op in (producer, consumer))
    before, after = list(consumer.operands), _maps(consumer)
    operands = before[:index] + list(producer.operands)[:-1] + before[index + 1 :]
    maps = after[:index] + _maps(producer)[:-1] + after[index + 1 :]
    arguments = list(second.arguments)
    arguments = arguments[:index] + list(first.arguments)[:-1] + arguments[index + 1 :]
    with consumer.location, ir.InsertionPoint(consumer):
        fused = linalg.GenericOp(
            [r.type for r in results],
            operands[: -len(results)],
            operands[-len(results) :],
            ir.ArrayAttr.get([ir.AffineMapAttr.get(m) for m in maps]),
            consumer.attributes["iterator_types"],
        )
    body = fused.regions[0].blocks.append(*(a.type for a in arguments), arg_locs=[a.location for a in arguments])
    for old, new in zip(arguments, body.arguments, strict=True):
        old.replace_all_uses_with(new)
    *steps, result = first.operations
    second.arguments[index].replace_all_uses_with(result.operands[0])
    for step in [*steps, *second.operations]:
        body.append(step)
    for old, new in zip(results, fused.results, strict=True):
        old.replace_all_uses_with(new)
    consumer.erase()
    producer.erase()
    return fused.operation
