"""gradcam-split-time-space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch_mlir import ir
from torch_mlir.dialects import arith, memref

from gradcam.errors import fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir import affine_ir
from gradcam.passes.ir.linear_form import Linear, plus, substitute
from gradcam.passes.ir.platform import Platform
from gradcam.passes.ir.queries import contributing, is_argument, main_function
from gradcam.passes.schedule.lane_widths import choose_lanes, is_data, is_same, lane_of, summed_lane, term_of
from gradcam.passes.schedule.plain_nest import PlainNest, Touch, read_plain_nest
from gradcam.passes.schedule.rare_epilogues import set_apart
from gradcam.passes.schedule.sliding import Sliding, find_sliding
from gradcam.pe import PE


@dataclass(frozen=True)
class SplitTimeSpace(Pass):
    """Splits every nest into time (affine.for) and space (affine.parallel), and moves epilogues into their reductions.

    A loop over lanes, the last dimension of a buffer, becomes space: output lanes, or a sum over input lanes. A lane
    loop longer than the array is tiled first; a loop whose counter is used as data stays in time. A reduction and the
    elementwise nest that alone reads its result become one nest: an accumulator per lane, set before the reduction
    loops, and the elementwise part as the epilogue after them. Only a rare one stays a nest
    (`passes/schedule/rare_epilogues.py`). Streams keep their order; an output stream has one element per step.

    This pass turns:

        affine.for %oh, %ow, %c { affine.store %c0, %acc[%oh, %ow, %c] }
        affine.for %oct, %oh, %ow, %ict, %kh, %kw, %o, %i { ... affine.store %sum, %acc[%oh, %ow, %oct * 16 + %o] }
        affine.for %h, %w, %c { %a = affine.load %acc[%h, %w, %c] ... affine.store %q, %y[%h, %w, %c] }

    into:

        affine.for %oct, %oh, %ow {
          affine.parallel (%o) = (0) to (16) { affine.store %c0, %acc[%o] }
          affine.for %ict, %kh, %kw {
            affine.parallel (%o) = (0) to (16) {
              %s = affine.parallel (%i) = (0) to (16) reduce ("addi") -> (i32) { ... }
              ... affine.store %sum, %acc[%o]
          affine.parallel (%o) = (0) to (16) { ... affine.store %q, %y[%oh, %ow, %oct * 16 + %o] }
    """

    name: ClassVar[str] = "gradcam-split-time-space"

    def run(self, module: ir.Module) -> None:
        """Rewrites all top-level nests of the module's function."""
        with module.context, ir.Location.unknown():
            _Splitter(module, Platform.of(module.operation).pe).split()


def _stored_bits(nest: PlainNest) -> int:
    return ir.IntegerType(ir.MemRefType(nest.stores[0].memref.type).element_type).width


def _joined(sums: list[PlainNest]) -> PlainNest:
    """The reduction whose epilogue reads several: that with the widest sums, of equal ones the last.

    The other sums are stored, which takes less memory the narrower they are.
    """
    widest = max(map(_stored_bits, sums))
    return next(nest for nest in reversed(sums) if _stored_bits(nest) == widest)


class _Splitter:
    def __init__(self, module: ir.Module, pe: PE) -> None:
        self.pe = pe
        self.entry = main_function(module).regions[0].blocks[0]
        self.nests = [read_plain_nest(op) for op in self.entry.operations if op.operation.name == "affine.for"]
        #: The constant that a reduction's store starts from.
        self.initial: dict[Touch, ir.Value] = {}
        #: The lanes of each nest that has some, by its id.
        self.lanes: dict[int, int] = {}

    def split(self) -> None:
        computing = [n for i, n in enumerate(self.nests) if not self._is_initial(n, self.nests[i + 1 :])]
        read: dict[int, list[PlainNest]] = {}
        for nest in computing:
            touches = [t for t in self._accumulated(nest) if self._is_read(t.memref, nest)]
            reader = self._only_reader(touches[0], nest, computing) if len(touches) == 1 else None
            if reader is not None:
                read.setdefault(id(reader), []).append(nest)
        fused = {reader: _joined(sums) for reader, sums in read.items()}
        for reader in set_apart(computing, fused, self.pe):
            del fused[reader]
        producers = {id(n) for n in fused.values()}
        nests = [fused.get(id(n), n) for n in computing if id(n) not in producers]
        self.lanes = choose_lanes(nests, self.pe, self._inferring())
        for nest in computing:
            with nest.op.location, ir.InsertionPoint(nest.op):
                if id(nest) in fused:
                    self._reduction(fused[id(nest)], nest)
                elif id(nest) not in producers:
                    self._reduction(nest, None) if nest.reduces else self._elementwise(nest)
        for nest in self.nests:
            nest.op.operation.erase()
        self._drop_unused()

    def _inferring(self) -> set[int]:
        """The ids of the nests that the first result depends on, the logits."""
        steps = [({t.memref for t in n.loads.values()}, {s.memref for s in n.stores}) for n in self.nests]
        results = [a for a in self.entry.arguments if any(a in written for _, written in steps)]
        return {id(self.nests[number]) for number in contributing(steps, results[0])} if results else set()

    def _drop_unused(self) -> None:
        for op in list(self.entry.operations):
            if op.operation.name == "memref.alloc" and not list(op.results[0].uses):
                op.operation.erase()

    def _is_initial(self, nest: PlainNest, later: list[PlainNest]) -> bool:
        """Whether a nest only sets the initial values of elements that a reduction is the next nest to access."""
        if nest.loads or len(nest.stores) != 1 or len(nest.body) != 1:
            return False
        (start,) = nest.stores
        user = next((n for n in later if any(start.meets(t) for t in n.touches)), None)
        if user is None or not user.reduces or start.guards:
            return False
        own = [s for t in user.loads.values() if (s := user.accumulated(t)) and s.memref == start.memref]
        begun = [s for s in own if start.covers(s, self.pe.lanes)]
        self.initial |= dict.fromkeys(begun, start.op.operands[0])
        return bool(begun)

    def _accumulated(self, nest: PlainNest) -> list[Touch]:
        """The stores of a reduction to elements that it also loads and that have initial values."""
        return [s for s in nest.stores if s in self.initial]

    def _only_reader(self, store: Touch, writer: PlainNest, computing: list[PlainNest]) -> PlainNest | None:
        """The elementwise nest that alone reads a reduction's buffer, each element once and in the written order.

        It may also read one lane of each.
        """
        buffer = store.memref
        others = [n for n in computing if n is not writer and buffer in n.buffers]
        readers = [n for n in others if any(t.memref == buffer for t in n.loads.values())]
        if readers != others or len(readers) != 1:
            return None
        if readers[0].reduces or any(is_argument(s.memref) for s in readers[0].stores):
            return None
        touches = [t for t in readers[0].loads.values() if t.memref == buffer]
        if len(touches) != 1 or touches[0].guards:
            return None
        if _one_lane(readers[0], store) is not None:
            return readers[0] if _in_one_word(writer, store) else None
        identity = [{iv: 1} for iv in readers[0].ivs]
        return readers[0] if touches[0].forms == identity and touches[0].covers(store, self.pe.lanes) else None

    def _is_read(self, buffer: ir.Value, writer: PlainNest) -> bool:
        """Whether a nest other than its writer, or an index such as the class, reads a buffer."""
        indexed = any(use.owner.operation.name == "memref.load" for use in buffer.uses)
        others = [n for n in self.nests if n is not writer]
        return indexed or any(t.memref == buffer for n in others for t in n.loads.values())

    # Nests without reduction.

    def _elementwise(self, nest: PlainNest) -> None:
        lane = lane_of(nest)
        if any(is_argument(s.memref) for s in nest.stores) or is_data(lane, nest):
            lane = None
        width = self.lanes[id(nest)] if lane is not None else 1
        # The lane loop keeps its place as the loop over tiles, so that a stream keeps its order.
        trips = [nest.trip(iv) // width if is_same(iv, lane) else nest.trip(iv) for iv in nest.ivs]
        trips = [t for iv, t in zip(nest.ivs, trips, strict=True) if not is_same(iv, lane) or t > 1] or [1]
        kept = [iv for iv in nest.ivs if not is_same(iv, lane) or nest.trip(iv) > width]
        ivs, block = affine_ir.for_loops(trips)
        with ir.InsertionPoint.at_block_begin(block):
            grid = affine_ir.parallel([width])
            by: dict[ir.Value, Linear] = {
                old: {new: width if is_same(old, lane) else 1} for old, new in zip(kept, ivs, strict=False)
            }
            if lane is not None:
                by[lane] = plus(by.get(lane, {}), {grid.regions[0].blocks[0].arguments[0]: 1})
            with ir.InsertionPoint(grid.regions[0].blocks[0]):
                self._straight(nest, by, {}, [])
                affine_ir.yield_([])

    def _straight(
        self, nest: PlainNest, by: dict[ir.Value, Linear], values: dict[ir.Value, ir.Value], guards: list[Linear]
    ) -> None:
        """Rebuilds the nest's body with its loops replaced.

        Args:
            nest: the nest.
            by: its loops over the new ones.
            values: the loads that are already built.
            guards: forms over the new loops; where one is negative, accesses that depend on its loops do not happen.
        """
        for op in nest.body:
            with op.location:
                if op.results and op.results[0] in nest.loads:
                    self._load(nest.loads[op.results[0]], op.results[0], by, values, guards)
                elif touch := nest.store_in(op):
                    value = values.get(touch.op.operands[0], touch.op.operands[0])
                    forms, inside = ([substitute(f, by) for f in fs] for fs in (touch.forms, touch.guards))
                    affine_ir.guarded_store(value, touch.memref, forms, [*inside, *guards])
                else:
                    self._clone(op, by, values)

    def _load(
        self,
        touch: Touch,
        result: ir.Value,
        by: dict[ir.Value, Linear],
        values: dict[ir.Value, ir.Value],
        guards: Sequence[Linear] = (),
    ) -> None:
        if result in values:
            return
        forms, inside = ([substitute(f, by) for f in fs] for fs in (touch.forms, touch.guards))
        walked, otherwise = {t for f in forms for t in f if t is not None}, touch.otherwise
        inside += [g for g in guards if walked & set(g)]
        if inside and otherwise is None:
            otherwise = arith.constant(ir.MemRefType(touch.memref.type).element_type, 0)
        values[result] = affine_ir.guarded_load(touch.memref, forms, inside, otherwise)

    def _clone(self, op: Any, by: dict[ir.Value, Linear], values: dict[ir.Value, ir.Value]) -> None:
        for operand in op.operands:
            if operand in by:
                if list(by[operand].values()) != [1]:
                    raise fail(op, f"a loop over more lanes than the {self.pe} array has cannot be used as a value")
                (values[operand],) = by[operand]
        affine_ir.clone_into(op, values)

    # Reductions.

    def _reduction(self, nest: PlainNest, epilogue: PlainNest | None) -> None:
        accumulated = self._accumulated(nest)
        if len(accumulated) != len(nest.stores):
            raise fail(
                nest.op,
                "a reduction must load every buffer it stores, and a nest before it must set the buffer to a constant",
            )
        for load in nest.loads.values():
            if nest.accumulated(load) is None and any(load.meets(s) for s in nest.stores):
                message = "a reduction must not read elements it stores elsewhere; give it a buffer of its own"
                raise fail(load.op, message)
        lane = lane_of(nest)
        summed = summed_lane(nest)
        lanes = self.lanes[id(nest)]
        if lanes > self.pe.lanes:
            raise fail(
                nest.op,
                f"{lanes} output lanes do not fit the {self.pe} array; "
                "run gradcam-set-platform before convert-gradcam-to-linalg",
            )
        sliding = find_sliding(nest, lane)
        outer = [iv for iv in nest.ivs if iv not in nest.reduces and not is_same(iv, lane)]
        inner = [iv for iv in nest.reduces if not is_same(iv, summed) and not (sliding and iv == sliding.tap)]
        width = lanes * (sliding.taps if sliding else 1)
        registers = {s: self._register(s, width) for s in accumulated}
        trips = [sliding.positions if sliding and iv == sliding.along else nest.trip(iv) for iv in outer]
        tiles = 1 if lane is None else nest.trip(lane) // lanes
        new, block = affine_ir.for_loops([*trips, *([tiles] if tiles > 1 or not trips else [])])
        by: dict[ir.Value, Linear] = {old: {iv: 1} for old, iv in zip(outer, new, strict=False)}
        if lane is not None and tiles > 1:
            by[lane] = {new[-1]: lanes}
        guards = list[Linear]()
        if sliding:
            by[sliding.along], guards = sliding.place(new[-1]), sliding.guards(new[-1])
        with ir.InsertionPoint.at_block_begin(block):
            if sliding:
                self._slide(registers[accumulated[0]], self.initial[accumulated[0]], lanes, new[-1])
            else:
                with _Grid(lanes, lane, by) as (_, place):
                    for touch in accumulated:
                        affine_ir.store(self.initial[touch], registers[touch], [place])
            steps, body = affine_ir.for_loops([nest.trip(iv) for iv in inner] or [1])
            by |= {old: {iv: 1} for old, iv in zip(inner, steps, strict=False)}
            with ir.InsertionPoint.at_block_begin(body), _Grid(lanes, lane, by, sliding) as (here, place):
                self._body(nest, here, place, summed, registers)
            one = next((f for s in accumulated if epilogue and (f := _one_lane(epilogue, s)) is not None), None)
            with _Grid(lanes, lane, by) if one is None else _Grid(1, None, by) as (here, place):
                complete = plus(place if one is None else one, {None: width - lanes})
                self._epilogue(nest, epilogue, here, complete, registers, guards)

    def _register(self, touch: Touch, lanes: int) -> ir.Value:
        element = ir.MemRefType(touch.memref.type).element_type
        with ir.InsertionPoint.at_block_begin(self.entry):
            return memref.alloca(ir.MemRefType.get([lanes], element), [], [])

    def _slide(self, register: ir.Value, initial: ir.Value, group: int, position: ir.Value) -> None:
        """Moves the sums on by a group of lanes, but at the first position; see `gradcam.passes.program.accumulators`.

        The sums are read from a copy, since all lanes move at once.
        """
        lanes = ir.MemRefType(register.type).shape[0]
        with ir.InsertionPoint.at_block_begin(self.entry):
            kept = memref.alloca(register.type, [], [])
        with _Grid(lanes, None, {}) as (_, place):
            affine_ir.store(affine_ir.load(register, [place]), kept, [place])
        with _Grid(lanes, None, {}) as (_, place):
            before = plus(place, {None: -group})
            value = affine_ir.guarded_load(kept, [before], [{position: 1, None: -1}, before], initial)
            affine_ir.store(value, register, [place])

    def _body(
        self,
        nest: PlainNest,
        by: dict[ir.Value, Linear],
        place: Linear,
        summed: ir.Value | None,
        registers: dict[Touch, ir.Value],
    ) -> None:
        values: dict[ir.Value, ir.Value] = {}
        term = term_of(nest) if summed is not None else None
        if summed is not None and term is not None:
            values[term] = self._tree(nest, by, summed, term)
        for op in nest.body:
            name = op.operation.name
            with op.location:
                if op.results and op.results[0] in nest.loads:
                    touch = nest.loads[op.results[0]]
                    if own := nest.accumulated(touch):
                        values[op.results[0]] = affine_ir.load(registers[own], [place])
                    elif summed is None:
                        self._load(touch, op.results[0], by, values)
                elif name == "affine.store":
                    touch = next(s for s in nest.stores if s.op == op)
                    affine_ir.store(values[op.operands[0]], registers[touch], [place])
                elif term is None or term in list(op.operands):
                    self._clone(op, by, values)

    def _tree(self, nest: PlainNest, by: dict[ir.Value, Linear], summed: ir.Value, term: ir.Value) -> ir.Value:
        """The sum of `term` over the summed lanes."""
        tree = affine_ir.parallel([nest.trip(summed)], term.type)
        lane = tree.regions[0].blocks[0].arguments[0]
        inside: dict[ir.Value, Linear] = {**by, summed: {lane: 1}}
        values: dict[ir.Value, ir.Value] = {}
        with ir.InsertionPoint(tree.regions[0].blocks[0]):
            for op in nest.body:
                if op.operation.name == "affine.store" or term in list(op.operands):
                    continue
                with op.location:
                    if op.results[0] in nest.loads:
                        if nest.accumulated(nest.loads[op.results[0]]) is None:
                            self._load(nest.loads[op.results[0]], op.results[0], inside, values)
                    else:
                        self._clone(op, inside, values)
            affine_ir.yield_([values[term]])
        return tree.results[0]

    def _epilogue(
        self,
        nest: PlainNest,
        epilogue: PlainNest | None,
        by: dict[ir.Value, Linear],
        place: Linear,
        registers: dict[Touch, ir.Value],
        guards: list[Linear],
    ) -> None:
        """Builds what happens where the sums in `registers` at `place` are complete, that is inside of `guards`."""
        if epilogue is None:
            for touch in [t for t in nest.stores if self._is_read(t.memref, nest)] or nest.stores:
                value = affine_ir.load(registers[touch], [place])
                affine_ir.guarded_store(value, touch.memref, [substitute(f, by) for f in touch.forms], guards)
            return
        result, store = next((v, s) for v, t in epilogue.loads.items() for s in registers if s.memref == t.memref)
        # The epilogue reads element by element: its loops are the index forms of the reduction's store, the last one in
        # words where it has one lane.
        *places, last = store.forms
        if _one_lane(epilogue, store) is not None:
            lane, lanes = lane_of(nest), self.lanes[id(nest)]
            last = {iv: c // lanes for iv, c in last.items() if not is_same(iv, lane)}
        here = {iv: substitute(form, by) for iv, form in zip(epilogue.ivs, [*places, last], strict=True)}
        values = {result: affine_ir.load(registers[store], [place])}
        self._straight(epilogue, here, values, guards)


def _one_lane(reader: PlainNest, store: Touch) -> Linear | None:
    """The lane that an elementwise nest reads at every position of a stored buffer; None where it reads all lanes.

    Such a nest has one iteration for the lane that it makes of it.
    """
    read = [t.forms for t in reader.loads.values() if t.memref == store.memref]
    *loops, last = reader.ivs
    if len(read) != 1 or read[0][:-1] != [{iv: 1} for iv in loops] or reader.trip(last) != 1 or last in read[0][-1]:
        return None
    return read[0][-1]


def _in_one_word(writer: PlainNest, store: Touch) -> bool:
    """Whether the lanes of a reduction are all elements of a position that its store reaches."""
    lane = lane_of(writer)
    dims = ir.MemRefType(store.memref.type).shape
    return lane is not None and store.reach[-1] == set(range(writer.trip(lane))) and writer.trip(lane) == dims[-1]


class _Grid:
    """An affine.parallel over output lanes, and over taps where sums slide.

    Enters its block, gives (forms of loops, index of the accumulator).
    """

    def __init__(
        self, lanes: int, lane: ir.Value | None, by: dict[ir.Value, Linear], sliding: Sliding | None = None
    ) -> None:
        extents = [sliding.taps, lanes] if sliding else [lanes]
        self.block = affine_ir.parallel(extents).regions[0].blocks[0]
        *taps, here = self.block.arguments
        self.place: Linear = {here: 1}
        self.by = by if lane is None else {**by, lane: plus(by.get(lane, {}), self.place)}
        if sliding:
            (tap,) = taps
            ahead = plus(by[sliding.along], {tap: -1, None: sliding.taps - 1})
            self.by |= {sliding.tap: {tap: 1}, sliding.along: ahead}
            self.place = {tap: lanes, here: 1}
        self.point = ir.InsertionPoint(self.block)

    def __enter__(self) -> tuple[dict[ir.Value, Linear], Linear]:
        self.point.__enter__()
        return self.by, self.place

    def __exit__(self, *exception: Any) -> None:
        if exception[0] is None:
            affine_ir.yield_([])
        self.point.__exit__(*exception)
