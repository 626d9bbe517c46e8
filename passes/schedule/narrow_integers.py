"""gradcam-narrow-integers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch_mlir import ir
from torch_mlir.dialects import arith

from gradcam.bits import signed_bits
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.attributes import ENGINE, EPILOGUE
from gradcam.passes.ir.queries import int_constant, is_argument, is_scalar, owner_name
from gradcam.passes.program.clock import EXTENSION, SHIFT
from gradcam.passes.program.engines import pattern
from gradcam.passes.program.nest import Nest, Node, read_nests
from gradcam.passes.program.ranges import NestRanges, ranges_of, type_range
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.schedule.equal_values import raise_to_largest
from gradcam.quant_types import ACCUMULATOR_BITS

#: Ops that are as wide as their operands and their result need.
_SIZED = (
    "reduce",
    "arith.addi",
    "arith.subi",
    "arith.muli",
    *SHIFT,
    "arith.maxsi",
    "arith.minsi",
    "arith.select",
)

#: Ops that only change the bits of an integer; they are made anew where a narrower op needs another width.
_CASTS = (*EXTENSION, "arith.trunci")

#: The number of the first predicate of arith.cmpi that compares integers without a sign.
_UNSIGNED = 6


@dataclass(frozen=True)
class NarrowIntegers(Pass):
    """Gives sums, and the arithmetic on them, the bits that the constants of the program prove to be enough.

    A sum of products is at most the sum of the largest products: of bytes and weights w, `128 * sum|w|`, or 255 for
    bytes without a sign, with the weights of each output channel by themselves (`gradcam.passes.program.ranges`). Bias,
    multipliers and limits follow. Nests of one engine share its adders and multipliers, so each of these has the bits
    of the nest that needs the most. So do buffers of sums that an engine writes through one port, or reads in one place
    of its datapath. Products of the array, and all else in memory, keep their types.

    This pass turns:

        %b = memref.alloc() : memref<8x8x16xi32>

        %acc = memref.alloca() : memref<16xi32>
        %s = affine.parallel (%i) = (0) to (16) reduce ("addi") -> (i32) { ... }
        %e = arith.extsi %a : i32 to i48    %f = arith.extsi %m : i16 to i48    %p = arith.muli %e, %f : i48

    into:

        %b = memref.alloc() : memref<8x8x16xi24>
        %acc = memref.alloca() : memref<16xi24>
        %s = affine.parallel (%i) = (0) to (16) reduce ("addi") -> (i20) { ... }
        %e = arith.extsi %a : i24 to i39    %f = arith.extsi %m : i16 to i39    %p = arith.muli %e, %f : i39
    """

    name: ClassVar[str] = "gradcam-narrow-integers"
    preserves = (read_nests, ScheduledProgram)

    def run(self, module: ir.Module) -> None:
        """Changes types, and the casts between them."""
        with module.context, ir.Location.unknown():
            program = ScheduledProgram.of(module)
            nests = list(program.nests)
            ranges = ranges_of(nests)
            needs = [_Needs(nest, found) for nest, found in zip(nests, ranges, strict=True)]
            widths: dict[Any, int] = {}
            for need in needs:
                for key, bits in need.found:
                    widths[key] = max(bits, widths.get(key, 0))
            sums = _bits_of_sums(nests, ranges[-1].stored if ranges else {})
            for memref, bits in sums.items():
                memref.set_type(_with_bits(memref, bits))
            constants: dict[tuple[int, int], ir.Value] = {}
            for number, need in enumerate(needs):
                if need.keys or any(a.memref in sums for a in (*need.nest.loads, *need.nest.stores)):
                    _Narrowing(need, widths, sums, constants).run()
                    program.reread(number)


def _bits_of_sums(nests: Sequence[Nest], stored: Mapping[ir.Value, tuple[int, int]]) -> dict[ir.Value, int]:
    """The bits of each buffer of sums, of whose elements `stored` has the least and the largest.

    Buffers have equal bits where an engine writes them through one port, or reads them in one place of its datapath.
    """
    found: dict[ir.Value, int] = {}
    places: dict[Any, set[ir.Value]] = {}
    for nest in nests:
        engine = ENGINE.get(nest.op)
        uses = [((engine, pattern(a)), a) for a in nest.stores]
        for flow in nest.flows:
            place = engine, EPILOGUE.get(nest.op) if flow is nest.epilogue else None
            uses += [((*place, number), a) for number, a in enumerate(flow.loads)]
        for place, access in uses:
            memref = access.memref
            in_memory = memref in stored and not (is_scalar(memref) or is_argument(memref))
            if in_memory and access.element_bits == ACCUMULATOR_BITS:
                found[memref] = signed_bits(*stored[memref])
                places.setdefault(place, set()).add(memref)
    raise_to_largest(found, places.values())
    return found


class _Needs:
    """The bits that the ops of a nest need.

    Attributes:
        nest: the nest.
        found: per op that can be narrower, what it shares a width with, and the bits that it needs.
        keys: what the op shares a width with, by its result; of accumulators, by their buffer.
        ranges: the range of each value that an op computes.
    """

    def __init__(self, nest: Nest, ranges: NestRanges) -> None:
        self.nest, self._of = nest, ranges.of
        self.found: list[tuple[Any, int]] = []
        self.keys: dict[ir.Value, Any] = {}
        self._shapes: dict[int, Any] = {}
        self.ranges: dict[ir.Value, tuple[int, int]] = {}
        engine = ENGINE.get(nest.op)
        # Bodies of one engine extend what they read, or none of them does.
        casts = (n for n in (nest.body.nodes if nest.body else []) if n.kind in EXTENSION)
        extended = max((n.args[0].bits + 1 for n in casts if n.args[0].kind == "load"), default=0)
        for number, accumulator in enumerate(nest.accumulators):
            bits = max(signed_bits(*ranges.accumulators[number].ends), extended)
            self._need(accumulator.memref, (engine, "acc", number), min(accumulator.bits, bits))
        for sink in nest.body.sinks if nest.body else []:
            self._shapes[id(sink.value)] = "acc", sink.target.number
        for flow in nest.flows:
            for node in flow.nodes:
                if node.op is not None and len(node.op.results) == 1:
                    self.ranges[node.op.results[0]] = self._of[id(node)].ends
                if node.op is not None and _is_sized(node) and not (node.kind == "arith.muli" and flow is nest.body):
                    self._need(node.op.results[0], (engine, *self._shape(node)), self._needed(node))

    def _need(self, value: ir.Value, key: Any, bits: int) -> None:
        self.keys[value] = key
        self.found.append((key, bits))

    def _needed(self, node: Node) -> int:
        """The bits of an op's result and of those operands that are as wide."""
        if node.kind in SHIFT:
            amount = self._of[id(node.args[1])].ends[1]
            return min(node.bits, max(self._bits(node), self._bits(node.args[0]), amount + 1))
        if node.kind == "arith.cmpi":
            return min(node.args[0].bits, max(map(self._bits, node.args)))
        same = node.args[1:] if node.kind == "arith.select" else node.args
        return min(node.bits, max(self._bits(n) for n in (node, *same)))

    def _bits(self, node: Node) -> int:
        return signed_bits(*self._of[id(node)].ends)

    def _shape(self, node: Node) -> tuple[Any, ...]:
        """A key of an expression: those with equal keys are the same hardware in all nests of an engine.

        Epilogues share their multipliers even where they multiply different things, so products of one type are equal,
        and an accumulator's sum with a loaded term is as wide as the accumulator itself.
        """
        if id(node) not in self._shapes:
            self._shapes[id(node)] = self._make_shape(node)
        return self._shapes[id(node)]

    def _make_shape(self, node: Node) -> tuple[Any, ...]:
        if node.kind in _CASTS:
            return self._shape(node.args[0])
        if node.kind == "acc":
            return "acc", node.what.number
        if node.kind == "arith.muli":
            return node.kind, node.bits
        args = [self._shape(a) for a in node.args]
        if node.kind == "arith.addi":
            sums = [a for a in args if a[0] == "acc"]
            if sums and ("load",) in args:
                return sums[0]
            args.sort(key=str)
        return node.kind, *args


def _is_sized(node: Node) -> bool:
    """Whether an op can be narrower; of comparisons, those of integers with a sign."""
    return node.kind in _SIZED or (node.kind == "arith.cmpi" and int(node.what["predicate"].split(" ")[0]) < _UNSIGNED)


class _Narrowing:
    """Changes the types of a nest; `constants` has the constants that were made for the nests before, by their bits."""

    def __init__(
        self,
        needs: _Needs,
        widths: Mapping[Any, int],
        sums: Mapping[ir.Value, int],
        constants: dict[tuple[int, int], ir.Value],
    ) -> None:
        self.nest, self.ranges = needs.nest, needs.ranges
        #: The bits of accumulators and of sums in memory, by their buffer, and of ops, by their result.
        self.widths = {**sums, **{value: widths[key] for value, key in needs.keys.items()}}
        self.ops = list(_inside(self.nest.op))
        self.before = {r: _width(r) for op in self.ops for r in op.results if isinstance(r.type, ir.IntegerType)}
        self._casts: dict[tuple[ir.Value, int, bool], ir.Value] = {}
        self._constants = constants

    def run(self) -> None:
        """Changes buffers of accumulators first, then every op behind its operands."""
        for op in self.ops:
            if op.operation.name == "affine.store" and owner_name(op.operands[1]) == "memref.alloca":
                # Where sums slide, they are read from a copy.
                bits = self.widths.setdefault(op.operands[1], self.widths[self.nest.accumulators[0].memref])
                op.operands[1].set_type(_with_bits(op.operands[1], bits))
        for op in self.ops:
            self._change(op)
        for op in reversed(self.ops):
            if op.operation.name in _CASTS and not any(True for _ in op.results[0].uses):
                op.operation.erase()

    def _change(self, op: Any) -> None:
        name = op.operation.name
        if name == "affine.load":
            _retype(op, self.widths.get(op.operands[0]))
        elif name == "affine.store":
            value, memref = list(op.operands)[:2]
            self._set(op, 0, self.widths.get(memref, self.before.get(value, 0)))
        elif name == "affine.if" and op.results:
            self._choose(op)
        elif name == "affine.yield":
            for result in op.operation.parent.results:
                self._set(op, 0, self.widths.get(result, 0))
        elif name in _CASTS:
            self._cut(op)
        elif op.results and op.results[0] in self.widths:
            self._resize(op, self.widths[op.results[0]])
        else:
            for number, value in enumerate(op.operands):
                self._set(op, number, self.before.get(value, 0))

    def _resize(self, op: Any, bits: int) -> None:
        """Gives an op and the operands that are as wide as it, all but the condition of a choice, other types."""
        for number in range(int(op.operation.name == "arith.select"), len(op.operands)):
            self._set(op, number, bits)
        if op.operation.name != "arith.cmpi":
            _retype(op, bits)

    def _choose(self, op: Any) -> None:
        """A load of a sum that slides, or its initial value; other loads keep their types."""
        load, *_ = op.regions[0].blocks[0].operations
        bits = self.widths.get(load.operands[0])
        if bits is not None:
            _retype(op, bits)
            self._set(list(op.regions[1].blocks[0].operations)[-1], 0, bits)

    def _cut(self, op: Any) -> None:
        """A cast that takes bits away which count has the same result of whatever is behind the casts before it."""
        if self._is_exact(op):
            return
        root, unsigned = self._root(op.operands[0])
        bits = _width(op.results[0])
        if _width(root) > bits:
            op.operands[0] = root
        else:
            op.results[0].replace_all_uses_with(self._casted(root, bits, unsigned))

    def _set(self, op: Any, number: int, bits: int) -> None:
        """Makes an operand `bits` wide; 0 for what is no integer of the nest."""
        value = op.operands[number]
        constant = int_constant(value)
        if constant is not None and isinstance(value.type, ir.IntegerType) and bits and _width(value) != bits:
            if (constant, bits) not in self._constants:
                with ir.InsertionPoint(value.owner), value.owner.location:
                    made = arith.constant(ir.IntegerType.get_signless(bits), constant)
                self._constants[constant, bits] = made
            op.operands[number] = self._constants[constant, bits]
        elif constant is None and bits:
            root, unsigned = self._root(value)
            op.operands[number] = value if _is_cast(value, root, bits) else self._casted(root, bits, unsigned)

    def _root(self, value: ir.Value) -> tuple[ir.Value, bool]:
        """The value that casts only bring into other types, and whether it has no sign."""
        while owner_name(value) in _CASTS and self._is_exact(value.owner):
            source = value.owner.operands[0]
            if value.owner.operation.name == "arith.extui" and self._ends(source)[0] < 0:
                return source, True
            value = source
        return value, False

    def _ends(self, value: ir.Value) -> tuple[int, int]:
        return self.ranges.get(value, type_range(_width(value)))

    def _is_exact(self, op: Any) -> bool:
        """Whether a cast keeps the integer: no bit that counts is cut off."""
        low, high = type_range(_width(op.results[0]))
        ends = self._ends(op.operands[0])
        return op.operation.name != "arith.trunci" or (low <= ends[0] and ends[1] <= high)

    def _casted(self, value: ir.Value, bits: int, unsigned: bool) -> ir.Value:
        """`value` with `bits` bits, which are enough."""
        if _width(value) == bits:
            return value
        key = value, bits, unsigned
        if key not in self._casts:
            extend = arith.extui if unsigned else arith.extsi
            with ir.InsertionPoint.after(value.owner), value.owner.location:
                make = arith.trunci if bits < _width(value) else extend
                self._casts[key] = make(ir.IntegerType.get_signless(bits), value)
        return self._casts[key]


def _is_cast(value: ir.Value, root: ir.Value, bits: int) -> bool:
    """Whether a value is the cast of `root` that is looked for, although the bits of `root` have changed."""
    if value == root or value.owner.operands[0] != root or _width(value) != bits or _width(root) == bits:
        return False
    return (owner_name(value) == "arith.trunci") == (_width(root) > bits)


def _retype(op: Any, bits: int | None) -> None:
    if bits is not None:
        op.results[0].set_type(ir.IntegerType.get_signless(bits))


def _with_bits(memref: ir.Value, bits: int) -> ir.MemRefType:
    """The type of a buffer with so many bits."""
    return ir.MemRefType.get(ir.MemRefType(memref.type).shape, ir.IntegerType.get_signless(bits))


def _width(value: ir.Value) -> int:
    return ir.IntegerType(value.type).width


def _inside(op: Any) -> Iterator[Any]:
    """The ops inside of an op, each behind those whose results it reads, an op with a region before those inside."""
    for region in op.regions:
        for block in region:
            for inner in block:
                yield inner
                yield from _inside(inner)
