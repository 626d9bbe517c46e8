"""The drains of nests: the next issue group starts while the pipelines of the group before it still drain.

The **drain** of a nest is the number of cycles for which its pipeline still works when the next issue group is issued.
After its last step a pipeline runs on by itself, and a delay of a later nest only makes its accesses later. So it is
enough to check the case in which no later nest waits for anything:

- no two nests read, or write, one bank in the same cycle;
- no element is read before it is written; the elements of the last stores and of the first loads are compared;
- no element is overwritten before the cycle after its last read.

Three kinds of pipelines drain to their end before the next issue group: a pipeline that can stop (an output stream), a
pipeline that reads or writes registers, and a pipeline whose iterations are counted. With a clock a pipeline that can
stop even ends one cycle later, which is a drain of -1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from gradcam.passes.ir.attributes import COUNTED
from gradcam.passes.program.banks import place_of
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.nest import Access, Nest
from gradcam.passes.program.streams import is_plain, visit
from gradcam.passes.schedule.stages import StagePlan


def drains_of(program: Sequence[Nest], issue_groups: Sequence[int], plan: StagePlan) -> list[int]:
    """The drain of every nest, in cycles.

    Args:
        program: the nests, with places of their buffers.
        issue_groups: the issue group of each nest; see `issue_groups_of`.
        plan: the stages of the nests.
    """
    drains, depths = [], plan.depths
    for number, (nest, depth) in enumerate(zip(program, depths, strict=True)):
        waits = 0
        for later, apart in _later(program, issue_groups, number, depth):
            waits = max(waits, _distance(nest, program[later], plan) - apart)
        # The run ends with the last nest, and with it everything else.
        ends = nest is program[-1] or depth + 1 > _apart(program, issue_groups, number) + program[-1].steps + depths[-1]
        # With a clock the signal that ends a nest comes from a register: one cycle of the pipeline is not in the drain.
        left = max(Clock.of(nest.op).crossing, min(depth, waits))
        stops = any(access_kind(a) == "stream" for a in nest.stores)
        drains.append(-Clock.of(nest.op).crossing if stops else 0 if ends or _is_whole(nest) else depth - left)
    return drains


def _is_whole(nest: Nest) -> bool:
    """Whether the next issue group waits for the end of the nest's pipeline."""
    kinds = {access_kind(a) for a in nest.loads} & {"register", "port"} | {access_kind(a) for a in nest.stores}
    return kinds != {"memory"} or COUNTED.is_on(nest.op)


def _later(program: Sequence[Nest], issue_groups: Sequence[int], number: int, depth: int) -> Iterator[tuple[int, int]]:
    """The nests of later issue groups that may start while a nest drains, each with its distance; see `_apart`."""
    for later in range(number + 1, len(program)):
        if issue_groups[later] != issue_groups[number]:
            apart = _apart(program, issue_groups, number, issue_groups[later])
            if apart > depth + 1:
                return
            yield later, apart


def _apart(program: Sequence[Nest], issue_groups: Sequence[int], number: int, group: int | None = None) -> int:
    """The least cycles from the last step of a nest to the first step of a later issue group, by default the last.

    The next issue group is issued in the cycle after the last step, at the earliest.
    """
    group, issue = issue_groups[-1] if group is None else group, Clock.of(program[number].op).issue
    between = sorted({t for t in issue_groups if issue_groups[number] < t < group})
    steps = [max(n.steps for n, t in zip(program, issue_groups, strict=True) if t == other) for other in between]
    return 1 + issue + sum(n + issue for n in steps)


def _distance(nest: Nest, later: Nest, plan: StagePlan) -> int:
    """The cycles that must lie between the last step of a nest and the first step of a later nest."""
    distance = 0
    for mine in filter(_in_memory, nest.loads + nest.stores):
        for other in filter(_in_memory, later.loads + later.stores):
            if place_of(mine.memref)[0] != place_of(other.memref)[0]:
                continue
            least = plan.stage(mine) + plan.busy(nest, mine) - _first(later, other, plan)
            if _is_store(other) or not _is_store(mine):
                distance = max(distance, least + 1)
            elif mine.memref == other.memref:
                distance = max(distance, _until_written(nest, mine, later, other, plan))
    return distance


def _in_memory(access: Access) -> bool:
    return access_kind(access) == "memory"


def _is_store(access: Access) -> bool:
    return access.op.operation.name == "affine.store"


def _first(nest: Nest, access: Access, plan: StagePlan) -> int:
    """Cycles from the first step of a nest to the first execution of an access."""
    return (0 if nest.in_body(access) else int(nest.output_steps(np.zeros(1, np.int64))[0])) + plan.stage(access)


def _until_written(nest: Nest, store: Access, later: Nest, load: Access, plan: StagePlan) -> int:
    """The cycles by which a later nest must start after the last step, so that its loads see the last stores."""
    depth, total = plan.stage(store), prod(loop.trip for loop in nest.outputs)
    last = np.arange(max(0, total - depth), total)
    written = depth - (nest.steps - 1 - nest.output_steps(last))  # cycles from the last step on
    last, written = last[written > 0], written[written > 0]
    in_body = later.in_body(load)
    loops = later.loops if in_body else later.outputs
    first = np.arange(min(prod(loop.trip for loop in loops), depth))
    read = (first if in_body else later.output_steps(first)) + plan.stage(load)  # cycles from the first step on
    if not (is_plain(store) and is_plain(load)):
        return int(written.max(initial=0) - read.min(initial=0)) + 1
    (stored, stores), (loaded, loads) = visit(store, nest.outputs, last), visit(load, loops, first)
    meet = (stored[:, None] < loaded + load.lanes) & (loaded < stored[:, None] + store.lanes) & stores[:, None] & loads
    return int(np.where(meet, written[:, None] - read + 1, 0).max(initial=0))
