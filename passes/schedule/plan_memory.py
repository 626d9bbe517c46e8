"""gradcam-plan-memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch_mlir import ir

from gradcam.errors import fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.attributes import BANK, BANKS, ENGINE, OFFSET
from gradcam.passes.ir.queries import is_argument, is_global, is_scalar
from gradcam.passes.program.banks import is_dense, kind_of_constants, power_of_two, ring_of
from gradcam.passes.program.block_ram import BlockRam
from gradcam.passes.program.engines import pattern
from gradcam.passes.program.nest import Access, Nest, read_nests
from gradcam.passes.program.runs import share_engine
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.schedule.in_place import replaced_buffers


@dataclass(frozen=True)
class PlanMemory(Pass):
    """Gives every buffer a bank and an offset; buffers that are accessed in the same cycle get different banks.

    A bank is one memory with one read and one write port. Its word is as wide as the widest access to each of its
    buffers; offsets count words. Buffers whose lifetimes do not overlap share words. So do a buffer and the one that
    takes its place element by element, as the result of x + y takes that of x (`passes/schedule/in_place.py`). A buffer
    goes where it adds the fewest block RAMs (`passes/program/block_ram.py`), if need be to a new bank. Constants get
    read-only banks, one per kind of word; the words of constants that an engine reads through one port are of one kind.

    This pass turns:

        %w = memref.get_global @w : memref<1x1x3x3x16x16xi8>
        %y = memref.alloc() : memref<64x64x16xi8>

    into:

        %w = memref.get_global @w : memref<1x1x3x3x16x16xi8> {gradcam.bank = "weights", gradcam.offset = 0 : i64}
        %y = memref.alloc() {gradcam.bank = "bank0", gradcam.offset = 4096 : i64} : memref<64x64x16xi8>

    and lists the banks, with lanes per word, bits per lane and words, in the module's attribute `gradcam.banks`. A ring
    (see gradcam-overlap-nests) starts at a multiple of its words. The nests of an issue group run at the same time, but
    for those on one engine.
    """

    name: ClassVar[str] = "gradcam-plan-memory"
    preserves = (read_nests,)

    def run(self, module: ir.Module) -> None:
        """Sets `gradcam.bank` and `gradcam.offset` on allocations and `gradcam.banks` on the module."""
        with module.context, ir.Location.unknown():
            program = ScheduledProgram.of(module)
            buffers = _buffers(program)
            banks: list[_Bank] = []
            for buffer in buffers:
                _place(buffer, banks, program.clock.block)
            for buffer in buffers:
                _annotate(buffer)
            BANKS.set(module.operation, {b.name: b.facts for b in banks})


@dataclass(eq=False)
class _Buffer:
    """A buffer in memory with its lifetime: `first` write to `last` read, in issue groups as `issue_groups_of` numbers.

    With `ring`, element i lies at i modulo `elements`, so that the buffer starts at a multiple of its words. It may lie
    in the place of a buffer in `replaced`, word by word.
    """

    value: ir.Value
    constant: bool
    bits: int
    lanes: int
    elements: int
    ring: bool
    first: int
    last: int
    used_with: set[ir.Value] = field(default_factory=set)
    replaced: set[ir.Value] = field(default_factory=set)
    bank: _Bank | None = None
    offset: int = 0

    @property
    def words(self) -> int:
        return -(-self.elements // self.lanes)

    def meets(self, other: _Buffer) -> bool:
        """Whether both buffers hold data at the same time."""
        return self.constant or (self.first <= other.last and other.first <= self.last)


@dataclass(eq=False)
class _Bank:
    """A memory and the buffers in it."""

    name: str
    constant: bool
    bits: int
    lanes: int
    buffers: list[_Buffer] = field(default_factory=list)

    @property
    def words(self) -> int:
        return max((b.offset + b.words for b in self.buffers), default=0)

    def takes(self, buffer: _Buffer) -> bool:
        """Whether the bank may hold `buffer`: same words, and no buffer in it is accessed in the same cycle."""
        if (self.constant, self.bits, self.lanes) != (buffer.constant, buffer.bits, buffer.lanes):
            return False
        return all(b.value not in buffer.used_with for b in self.buffers)

    def offset_for(self, buffer: _Buffer) -> int:
        """The offset for `buffer`: the first fit, unless the bank has fewer words with it in the place of another."""
        places = [b.offset for b in self.buffers if b.value in buffer.replaced and self._is_free(b, buffer)]
        return min([self._first_fit(buffer), *places], key=lambda offset: max(self.words, offset + buffer.words))

    def _is_free(self, place: _Buffer, buffer: _Buffer) -> bool:
        """Whether no other buffer is in the way of `buffer` in the place of the buffer `place`."""
        met = (b for b in self.buffers if b is not place and b.meets(buffer))
        return all(b.offset + b.words <= place.offset or place.offset + buffer.words <= b.offset for b in met)

    def _first_fit(self, buffer: _Buffer) -> int:
        """The lowest offset at which `buffer` overlaps no buffer with an overlapping lifetime."""
        offset, unit = 0, buffer.words if buffer.ring else 1
        for other in sorted(self.buffers, key=lambda b: b.offset):
            if buffer.meets(other) and other.offset < offset + buffer.words:
                offset = max(offset, -(-(other.offset + other.words) // unit) * unit)
        return offset

    def weight(self, words: int, block: BlockRam) -> float:
        """What the bank would be worth with so many words; see `BlockRam.weight`."""
        parts = block.parts(words, self.lanes, self.bits, self.constant, self.constant) if words else ()
        return block.weight(parts, self.lanes * self.bits) if parts else 0

    @property
    def facts(self) -> dict[str, Any]:
        """The bank's entry in `gradcam.banks`."""
        return {"lanes": self.lanes, "bits": self.bits, "words": self.words, "constant": self.constant}


def _buffers(program: ScheduledProgram) -> list[_Buffer]:
    """All buffers that need memory, in the order of their first use."""
    accesses: dict[ir.Value, list[tuple[int, Access]]] = {}
    # The buffers that an issue group reads, and the buffers that it writes, each with the nest that does so.
    ports: dict[tuple[int, str], list[tuple[Nest, ir.Value]]] = {}
    together: dict[ir.Value, set[ir.Value]] = {}
    for group, nest in zip(program.issue_groups, program.nests, strict=True):
        for port, used_here in (("read", nest.loads), ("write", nest.stores)):
            used = ports.setdefault((group, port), [])
            for access in filter(_in_memory, used_here):
                beside = {memref for other, memref in used if nest is other or not share_engine(nest, other)}
                if port == "read" and access.memref in beside:
                    raise fail(nest.op, "one buffer is read twice in a cycle; run gradcam-duplicate-buffers first")
                accesses.setdefault(access.memref, []).append((group, access))
                used.append((nest, access.memref))
                together.setdefault(access.memref, set()).update(beside - {access.memref})
                for memref in beside - {access.memref}:
                    together[memref].add(access.memref)
    _check_unused(program.function, accesses)
    lanes = {m: _lanes(m, [a for _, a in uses]) for m, uses in accesses.items() if not is_global(m)}
    lanes |= {m: _constant_lanes([a for _, a in uses]) for m, uses in accesses.items() if is_global(m)}
    _widen(lanes, _shared_ports(program.nests))
    found = [_buffer(memref, uses, lanes[memref], together.get(memref, set())) for memref, uses in accesses.items()]
    replaced = replaced_buffers(program)
    for buffer in found:
        buffer.replaced = replaced.get(buffer.value, set())
    return found


def _buffer(memref: ir.Value, uses: list[tuple[int, Access]], lanes: int, together: set[ir.Value]) -> _Buffer:
    constant, bits = is_global(memref), uses[0][1].element_bits
    elements = 1
    for n in ir.MemRefType(memref.type).shape:
        elements *= n
    ring, numbers = ring_of(memref), [n for n, _ in uses]
    return _Buffer(memref, constant, bits, lanes, ring or elements, bool(ring), min(numbers), max(numbers), together)


def _lanes(memref: ir.Value, uses: list[Access]) -> int:
    """The lanes of a word: a power of two, unless accesses without a gap would straddle such words."""
    row = ir.MemRefType(memref.type).shape[-1]
    if any(is_dense(a, row) for a in uses):
        return row
    return max(power_of_two(a.lanes) for a in uses)


def _constant_lanes(uses: list[Access]) -> int:
    """The lanes of a word: constants of one kind are read with the same lanes; a narrower kind gets narrower words.

    They are a power of two, unless the constant is read at multiples of another number, as are groups of three taps.
    """
    lanes = max(power_of_two(a.lanes) for a in uses)
    own = {a.lanes for a in uses}
    steps = [c for a in uses for c in a.index.values()]
    in_order = len(own) == 1 and not any(c % min(own) for c in steps)
    return min(own) if in_order and any(c % lanes for c in steps) else lanes


def _shared_ports(nests: Sequence[Nest]) -> Iterable[set[ir.Value]]:
    """The constants that an engine may read through one port: those of one operand of its bodies, or of its epilogues.

    The accesses of a port have one pattern, see `gradcam.passes.program.engines`.
    """
    ports: dict[Any, set[ir.Value]] = {}
    for nest in nests:
        operands = [*enumerate(nest.body.operands if nest.body else ()), *((None, a) for a in nest.epilogue.loads)]
        for operand, access in operands:
            if is_global(access.memref):
                ports.setdefault((ENGINE.find(nest.op), operand, pattern(access)), set()).add(access.memref)
    return ports.values()


def _widen(lanes: dict[ir.Value, int], ports: Iterable[set[ir.Value]]) -> None:
    """Gives the constants of a port words of one width: another nest may read one of them by wider words."""
    changed = True
    while changed:
        changed = False
        for constants in ports:
            widest = max(lanes[c] for c in constants)
            for constant in constants:
                if lanes[constant] < widest and widest % lanes[constant] == 0:
                    lanes[constant], changed = widest, True


def _in_memory(access: Access) -> bool:
    return not (is_argument(access.memref) or is_scalar(access.memref))


def _check_unused(function: Any, accesses: dict[ir.Value, Any]) -> None:
    for op in function.regions[0].blocks[0].operations:
        if op.operation.name == "memref.alloc" and not is_scalar(op.results[0]) and op.results[0] not in accesses:
            raise fail(op, "no nest uses the buffer; run canonicalize first")


def _place(buffer: _Buffer, banks: list[_Bank], block: BlockRam) -> None:
    """Puts `buffer` into the bank to which it adds least, or into a new one.

    A new bank is one more to choose from wherever it is read, which takes a LUT per bit. Constants that can lie in one
    bank do.
    """
    choices = [b for b in banks if b.takes(buffer)]
    if not choices or not buffer.constant:
        choices = [_Bank(_bank_name(buffer, banks), buffer.constant, buffer.bits, buffer.lanes), *choices]

    def added(bank: _Bank) -> tuple[float, int]:
        words = max(bank.words, bank.offset_for(buffer) + buffer.words)
        weight = bank.weight(words, block) - bank.weight(bank.words, block)
        return weight + (0 if bank.buffers else bank.lanes * bank.bits), words - bank.words

    bank = min(choices, key=added)
    buffer.bank, buffer.offset = bank, bank.offset_for(buffer)
    bank.buffers.append(buffer)
    if bank not in banks:
        banks.append(bank)


def _bank_name(buffer: _Buffer, banks: list[_Bank]) -> str:
    kind = kind_of_constants(buffer.bits) if buffer.constant else "bank"
    same = sum(b.name.rstrip("0123456789") == kind for b in banks)
    return f"{kind}{same}" if same or not buffer.constant else kind


def _annotate(buffer: _Buffer) -> None:
    assert buffer.bank is not None
    BANK.set(buffer.value.owner, buffer.bank.name)
    OFFSET.set(buffer.value.owner, buffer.offset)
