"""gradcam-overlap-nests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from torch_mlir import ir

from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.attributes import COUNTED, ENGINE, FOLLOWS, RING
from gradcam.passes.ir.queries import is_global
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.nest import Nest, read_nests
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.program.streams import is_plain
from gradcam.passes.program.weight_stream import may_stream
from gradcam.passes.schedule.followers import Follower, alone, follower_of, is_worth
from gradcam.passes.schedule.row_order import move_rows, rows_outermost, words_kept
from gradcam.passes.schedule.time_loops import nest_names
from gradcam.schema.schedule import read_schedule


@dataclass(frozen=True)
class OverlapNests(Pass):
    """Lets a nest run beside the nest before it whose result it reads, and keeps only a part of that result in a ring.

    The nests of an issue group run on different engines: a producer, its follower, perhaps a follower of that one. The
    committed iterations of the producer's outer loops are counted. An iteration of the follower starts when their
    number reaches a linear form over the follower's loops. The form is found by evaluating the accesses of both nests.
    Where less than half of the shorter nest would be hidden, nothing changes. A nest that could run beside the nest
    before it or beside the one behind it, as a depthwise convolution between two others, does so where more cycles are
    hidden. Nests that run at once do not both read constants from DRAM.

    A follower may take longer than its producer. A third nest that reads the follower's result, and runs on the engine
    of the producer, then is in their group, too: it is issued when the producer has ended, and waits for iterations of
    the follower. Where that hides more, all three get their rows outermost (`passes/schedule/row_order.py`), so that
    the third nest need not wait for the last channels of the whole map. So do other nests, where that takes no more
    memory: a pointwise convolution can then run beside the depthwise one that it reads. No nest whose weights come from
    DRAM gets its rows outermost where more weights would be kept on chip than any nest keeps before, unless it shares
    the engine of a third one.
    Nests that a schedule `file` names keep their loops (`python/gradcam/schema/schedule.py`).

    A ring holds element i of the buffer at i modulo a power of two of words. It is large enough when every element is
    written after the last read of the element that it replaces; this is checked to the cycle. Stalls cannot break it,
    since they delay only the producer: from the step that releases an iteration to the step that overwrites its
    operands, the producer takes no less time than without stalls, and the released iteration takes no more. A follower
    that waits for constants from DRAM, or for its engine, gets no ring.

    This pass turns:

        %y = memref.alloc() : memref<112x112x64xi8>
        affine.for %ct, %h, %w, %kh, %kw { ... affine.store %v, %y[%h, %w, %ct * 16 + %l] } {gradcam.engine = "mac"}
        affine.for %ct, %h, %w, %kh, %kw { affine.load %y[%h * 2 + %kh - 1, %w * 2 + %kw - 1, %ct * 16 + %l] ... }

    into:

        %y = memref.alloc() {gradcam.ring = 16384 : i64} : memref<112x112x64xi8>
        affine.for %ct, %h, %w, %kh, %kw { ... } {gradcam.counted = 3 : i64, gradcam.engine = "mac"}
        affine.for %ct, %h, %w, %kh, %kw { ... }
          {gradcam.follows = affine_map<(ct, h, w) -> (ct * 12544 + h * 224 + w * 2 + 114)>}
    """

    name: ClassVar[str] = "gradcam-overlap-nests"
    preserves = (read_nests,)
    file: str = ""

    def run(self, module: ir.Module) -> None:
        """Sets `gradcam.counted` and `gradcam.follows` of nests, and `gradcam.ring` of buffers; may reorder loops."""
        asked = read_schedule(self.file).nests
        with module.context, ir.Location.unknown():
            scheduled = ScheduledProgram.of(module)
            program = scheduled.nests
            late = _streamed if scheduled.platform.streamed else lambda _: set()
            groups = _Groups(program, late, {n for n, name in enumerate(nest_names(program)) if name in asked})
            for group in list(groups.chosen()):
                group.write(scheduled, groups.only)


@dataclass(frozen=True)
class _Group:
    """Nests that can be an issue group.

    Attributes:
        first: the number of the first nest.
        nests: the nests, perhaps with their loops in another order than in the program.
        followers: all but the first one as followers.
        moved: whether the rows of all maps become the outermost loops.
    """

    first: int
    nests: list[Nest]
    followers: list[Follower]
    moved: bool = False

    @property
    def end(self) -> int:
        """The number of the nest behind the last one."""
        return self.first + len(self.nests)

    @property
    def hidden(self) -> int:
        """The cycles that the nests take less side by side than one behind the other."""
        return sum(follower.hidden for follower in self.followers)

    def write(self, program: ScheduledProgram, only: Callable[[int], set[ir.Value]]) -> None:
        """Marks the nests, and rings among the buffers that `only` returns for the number of a nest."""
        marks: list[tuple[int, Any, Any]] = []
        for number, follower in enumerate(self.followers, self.first + 1):
            marks += [(number - 1, COUNTED, follower.follow.counted), (number, FOLLOWS, follower.map)]
            if follower.follow.after is None:
                for memref, size in follower.rings(alone(follower.follow.producer), only(number)).items():
                    RING.set(memref.owner, size)
        for number in range(self.first, self.end) if self.moved else ():
            move_rows(program, number)
        for number, attribute, value in marks:
            attribute.set(program.nests[number].op, value)


@dataclass(frozen=True)
class _Order:
    """The nests of a program with their loops in some order.

    Attributes:
        nests: the nests; None for one that has no such order.
        followers: each as the follower of the nest before it; None where that cannot be, or hides too little.
        moved: whether the rows are the outermost loops, which they are not in the program.
    """

    nests: Sequence[Nest | None]
    followers: Sequence[Follower | None]
    moved: bool


class _Groups:
    """The issue groups that a program can have.

    Attributes:
        program: the nests.
        late: returns the constants of a nest that may come from DRAM.
        most_kept: the most words of weights from DRAM that a nest reads repeatedly before it goes on; see `words_kept`.
    """

    def __init__(self, program: Sequence[Nest], late: Callable[[Nest], set[ir.Value]], fixed: set[int]) -> None:
        """Takes the nests, their `late` constants, and the numbers of the nests whose loops stay in their order."""
        self.program, self.late = program, late
        self.most_kept = max((words_kept(nest, late(nest)) for nest in program), default=0)
        #: Each nest with its rows outermost; None where that cannot be.
        self.rows = [None if n in fixed else rows_outermost(nest) for n, nest in enumerate(program)]
        #: For each buffer the numbers of the nests that write it, and of the nests that read it.
        self.writers: dict[ir.Value, set[int]] = {}
        self.readers: dict[ir.Value, set[int]] = {}
        for number, nest in enumerate(program):
            for users, accesses in ((self.writers, nest.stores), (self.readers, nest.loads)):
                for access in accesses:
                    users.setdefault(access.memref, set()).add(number)

    def chosen(self) -> Iterator[_Group]:
        """The groups such that the most cycles are hidden in total."""
        count = len(self.program)
        plain = _Order(self.program, [self._follower(number, self.program) for number in range(count)], False)
        rows = _Order(self.rows, [self._follower(number, self.rows) for number in range(count)], True)
        best: list[_Group] = []  # of every nest, the group that it is the first one of, the last nest first
        hidden = [0] * (count + 1)  # from each nest on
        for first in reversed(range(count)):
            choices = list(self._choices(first, plain, rows))
            totals = [group.hidden + hidden[group.end] for group in choices]
            hidden[first] = max(totals)
            best.append(next(g for g, t in reversed(list(zip(choices, totals, strict=True))) if t == hidden[first]))
        first = 0
        while first < count:
            group = best[count - 1 - first]
            yield group
            first = group.end

    def only(self, number: int) -> set[ir.Value]:
        """The buffers that may become rings: a nest alone reads them, behind one that alone writes them.

        None where the nest waits for the DRAM itself.
        """
        nest = self.program[number]
        single = (m for m, numbers in self.readers.items() if numbers == {number} and len(self.writers.get(m, ())) == 1)
        return set() if self.late(nest) else set(single)

    def _choices(self, first: int, plain: _Order, rows: _Order) -> Iterator[_Group]:
        """The groups that begin with nest `first`; of equally good ones, the last one is to be taken."""
        if self._returns(first):
            for order in (plain, rows):
                yield from self._three(first, order)
        nests, followers = [self.program[first]], list[Follower]()
        yield _Group(first, nests, [])
        for number in range(first + 1, len(self.program)):
            follower = plain.followers[number]
            if follower is None or not self._fit(first, number):
                break
            nests, followers = [*nests, self.program[number]], [*followers, follower]
            yield _Group(first, nests, followers)
        yield from self._row_by_row(first, plain, rows)

    def _three(self, first: int, order: _Order) -> Iterator[_Group]:
        """Three nests as a group, of which the last one runs on the engine of the first one."""
        nests, second = [nest for nest in order.nests[first : first + 3] if nest], order.followers[first + 1]
        # The third nest hides at most while the second one runs without the first one.
        if len(nests) < 3 or second is None or not is_worth(second.run.last - alone(nests[0]).last, *nests[1:]):
            return
        third = follower_of(nests[1], second.run, nests[2], nests[0])
        if third and not (order.moved and self._keeps_more(first + 1)):
            yield _Group(first, nests, [second, third], order.moved)

    def _row_by_row(self, first: int, plain: _Order, rows: _Order) -> Iterator[_Group]:
        """The groups of nests with their rows outermost, where that hides more or takes less memory, and not more.

        That is memory for the buffers between the nests, and for weights from DRAM, which every row reads again.
        """
        followers, others = list[Follower](), list[Follower]()
        if self._keeps_more(first):
            return
        for number in range(first + 1, len(self.program)):
            moved, other = rows.followers[number], plain.followers[number]
            if moved is None or not self._fit(first, number) or self._keeps_more(number):
                return
            followers, others = [*followers, moved], [*others, *([other] if other else [])]
            kept, before = self._kept(followers, first), self._kept(others, first)
            hidden, otherwise = (sum(f.hidden for f in found) for found in (followers, others))
            if len(others) < len(followers) or (kept <= before and (hidden, before) > (otherwise, kept)):
                nests = [followers[0].follow.producer, *(follower.follow.nest for follower in followers)]
                yield _Group(first, nests, followers, True)

    def _keeps_more(self, number: int) -> bool:
        """Whether a nest with its rows outermost keeps more weights from DRAM on chip than any nest does so far."""
        nest, moved = self.program[number], self.rows[number]
        return moved is not None and words_kept(moved, self.late(nest)) > self.most_kept

    def _kept(self, followers: Sequence[Follower], first: int) -> int:
        """The elements that are kept of what only the followers read, which come one by one behind nest `first`."""
        found = 0
        for number, follower in enumerate(followers, first + 1):
            only = self.only(number) & set(follower.traffic)
            rings = follower.rings(alone(follower.follow.producer), only)
            found += sum(rings.get(m, prod(ir.MemRefType(m.type).shape)) for m in only)
        return found

    def _follower(self, number: int, nests: Sequence[Nest | None]) -> Follower | None:
        """A nest as the follower of the one before it; None where that cannot be, or hides too little."""
        producer, nest = nests[number - 1], nests[number]
        if not number or producer is None or nest is None or not self._fit(number - 1, number):
            return None
        return follower_of(producer, alone(producer), nest)

    def _fit(self, first: int, number: int) -> bool:
        """Whether a nest may follow the nest before it, in an issue group that begins with nest `first`.

        The nest runs on an engine of its own. Apart from constants, it reads only buffers that its producer writes, and
        others that were written before the group, as parts of the former may be; no nest of the group reads these or
        its constants, since a memory has one read port. It writes only buffers that the group does not access. Only one
        nest of the group waits for the DRAM.
        """
        group, nest = self.program[first:number], self.program[number]
        taken, before = _accessed(group)[1], self._before(nest, first)
        return (
            ENGINE.get(nest.op) not in [ENGINE.get(n.op) for n in group]
            and not before & taken
            and self._reads_what(first, number, _variables(nest) - before, taken)
            and self._disturbs_none(nest, group, group)
        )

    def _before(self, nest: Nest, first: int) -> set[ir.Value]:
        """What a nest reads that is written before nest `first`."""
        return {m for m in _variables(nest) if all(number < first for number in self.writers.get(m, ()))}

    def _returns(self, first: int) -> bool:
        """Whether nest `first + 2` may follow the nest before it on the engine of nest `first`.

        As in `_fit`, but for the nests that share the engine and so never run at once.
        """
        if first + 2 >= len(self.program):
            return False
        group, nest = self.program[first : first + 2], self.program[first + 2]
        beside = group[1:]
        before = self._before(nest, first)
        return (
            ENGINE.get(nest.op) == ENGINE.get(group[0].op)
            and not before & _accessed(beside)[1]
            and self._reads_what(first, first + 2, _variables(nest) - before, _accessed(group)[1])
            and self._disturbs_none(nest, group, beside)
        )

    def _reads_what(self, first: int, number: int, read: set[ir.Value], taken: set[ir.Value]) -> bool:
        """Whether a nest reads what its producer writes, and none of what is `taken` by other nests.

        Parts of it may be there before nest `first`, the first one of the group.
        """
        producer = self.program[number - 1]
        accesses = (*self.program[number].loads, *self.program[number].stores, *producer.stores)
        return (
            all(access_kind(a) == "memory" and is_plain(a) for a in accesses)
            and bool(read)
            and read <= {a.memref for a in producer.stores} - taken
            and all(n < first for m in read for n in self.writers[m] - {number - 1})
        )

    def _disturbs_none(self, nest: Nest, group: Sequence[Nest], beside: Sequence[Nest]) -> bool:
        """Whether a nest writes nothing that a group accesses, and shares no constants with the nests `beside` it."""
        made, taken = _accessed(group)
        return (
            not (self.late(nest) and any(map(self.late, beside)))
            and not _constants(nest) & _accessed(beside)[1]
            and not {a.memref for a in nest.stores} & (made | taken)
        )


def _accessed(nests: Sequence[Nest]) -> tuple[set[ir.Value], set[ir.Value]]:
    """The buffers and constants that nests write, and those that they read."""
    return {a.memref for n in nests for a in n.stores}, {a.memref for n in nests for a in n.loads}


def _constants(nest: Nest) -> set[ir.Value]:
    """The constants that a nest reads."""
    return {a.memref for a in nest.loads if is_global(a.memref)}


def _variables(nest: Nest) -> set[ir.Value]:
    """All else that a nest reads."""
    return {a.memref for a in nest.loads} - _constants(nest)


def _streamed(nest: Nest) -> set[ir.Value]:
    """The constants of a nest that gradcam-stream-weights may move to DRAM."""
    return {a.memref for a in nest.loads if is_global(a.memref) and may_stream(a)}
