"""The ports of an engine, declared once: the engine's header, the sequencer and the top read their names here."""

from __future__ import annotations

from collections.abc import Mapping

from gradcam.errors import fail
from gradcam.passes.hw.signals import Signal, Stream
from gradcam.passes.hw.value import bits_for
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.program.banks import Bank, address_form, place_of, ring_of, slices_of
from gradcam.passes.program.engines import Engine, Slot
from gradcam.passes.program.runs import Follow
from gradcam.passes.program.weight_stream import WeightStream


class Control:
    """The ports of an engine that belong to no slot: those to the sequencer, and `moving`.

    Attributes:
        engine: the engine's name.
        row: the number of the row, an input of an engine with several.
        go: i1 input: the row starts.
        written, over: i1 inputs: another iteration of the producer is written; the producer has ended.
        done, landed: i1 outputs: the row has ended; it has written another iteration.
        moving: i1 output to memories: the pipeline moves, and with it the reads that are on their way.
        counted: the engine runs a producer, so that it says when iterations are written.
        gated: it runs a nest that follows another, so that it waits for the iterations which that has written.
        inputs, outputs: from and to the sequencer.
    """

    go, written, producer_done = Signal("go"), Signal("written"), Signal("over")
    done, committed, moving = Signal("done"), Signal("landed"), Signal("moving")

    def __init__(self, engine: Engine, follows: Mapping[int, Follow]) -> None:
        """The ports of `engine`, given the nests that follow others."""
        self.engine = engine.name
        self.row = Signal("row", bits_for(len(engine.rows)))
        self.counted = any(follow.producer in engine.rows for follow in follows.values())
        self.gated = any(follow.nest in engine.rows for follow in follows.values())
        rows = [self.row] if len(engine.rows) > 1 else []
        self.inputs = [self.go, *rows, *([self.written, self.producer_done] if self.gated else [])]
        self.outputs = [self.done, *([self.committed] if self.counted else [])]


class Port:
    """A slot of an engine as hardware.

    Attributes:
        slot: the accesses that go through the port.
        width: bits of data.
        inputs, outputs: the signals, as the engine sees them.
    """

    inputs: list[Signal]
    outputs: list[Signal]

    def __init__(self, slot: Slot, width: int | None = None) -> None:
        """The port of `slot`; without a `width` one of all its lanes."""
        self.slot, self.name = slot, slot.name
        self.width = slot.example.lanes * slot.example.element_bits if width is None else width

    def signal(self, end: str, bits: int = 1) -> Signal:
        """One of the port's signals."""
        return Signal(end, bits).of(self.name)


class StreamPort(Port):
    """A valid/ready stream in or out."""

    def __init__(self, slot: Slot) -> None:
        """The stream of `slot`."""
        super().__init__(slot)
        self.stream = Stream.of(self.name, self.width)
        forwards, backwards = [self.stream.valid, self.stream.data], [self.stream.ready]
        self.inputs, self.outputs = (backwards, forwards) if slot.store else (forwards, backwards)


class ScalarPort(Port):
    """A register of the program, read or written, or a plain input of the top.

    Attributes:
        data: the value.
        enable: i1 of a write.
    """

    def __init__(self, slot: Slot) -> None:
        """The scalar of `slot`."""
        super().__init__(slot)
        self.data, self.enable = self.signal("data", self.width), self.signal("en")
        self.inputs, self.outputs = ([], [self.data, self.enable]) if slot.store else ([self.data], [])


class MemoryPort(Port):
    """A read or write port of the banks.

    Attributes:
        banks: the banks that rows reach through it; `bank_of` is the number of a row's bank in it.
        uses: per row the words that it reads from the weight tape, None where it reads something else.
        slices: accesses per word; the lowest address bits pick one, of a read behind the bank.
        address_bits, slice_bits: bits of a word address, and of the number of a slice in the word.
        enable: a read; of a write one bit per slice.
        address: of the word, and in a read of the slice in it.
        bank, source: the number of the bank that is accessed, and of the one whose data arrives.
        data: a word of a write, the slice of a read.
        word_ready, fresh, free: the word of the tape is there; it is read for the first time; for the last time.
    """

    def __init__(self, slot: Slot, banks: Mapping[str, Bank], weights: WeightStream | None) -> None:
        """Works out which of the banks a slot reaches and how its lanes lie in their words."""
        used = [None if a is None else banks[place_of(a.memref)[0]] for a in slot.rows]
        self.banks = list(dict.fromkeys(b for b in used if b is not None))
        if len({(b.lanes, b.bits) for b in self.banks}) != 1:
            names = ", ".join(b.name for b in self.banks)
            raise fail(slot.example.op, f"{names} have different words; read each constant with one number of lanes")
        self.bank_of = [0 if b is None else self.banks.index(b) for b in used]
        self.uses = [weights.use_of(a) if weights else None for a in slot.rows]
        self.slices = slices_of([a for a in slot.rows if a is not None], self.banks[0])
        self.address_bits = max(bits_for(b.words) for b in self.banks)
        self.slice_bits = (self.slices - 1).bit_length()
        super().__init__(slot, self.banks[0].width // (1 if slot.store else self.slices))
        self._declare()

    def _declare(self) -> None:
        store, bank_bits = self.slot.store, bits_for(len(self.banks))
        self.enable = self.signal("en", self.slices if store else 1)
        self.address = self.signal("addr", self.address_bits + (0 if store else self.slice_bits))
        self.bank, self.source = self.signal("bank", bank_bits), self.signal("from", bank_bits)
        self.data = self.signal("data", self.width)
        self.word_ready, self.fresh, self.free = self.signal("ready"), self.signal("fresh"), self.signal("free")
        numbers = [self.bank] if store else [self.bank, self.source]
        self.inputs, self.outputs = [], [self.enable, self.address, *(numbers if len(self.banks) > 1 else [])]
        (self.outputs if store else self.inputs).append(self.data)

    @property
    def reads_weight_stream(self) -> bool:
        """Whether a row reads the weight tape; such a port says what it takes and frees, and waits for late words."""
        return any(self.uses)

    def row_form(self, row: int) -> Linear | None:
        """The address of a row's access in slices."""
        access = self.slot.rows[row]
        if access is None:
            return None
        bank, use = self.banks[self.bank_of[row]], self.uses[row]
        offset = 0 if ring_of(access.memref) else place_of(access.memref)[1]
        form = address_form(access, bank, offset, self.slices)
        if use is not None and use.symbol is not None:
            # The tape reader follows the symbol: all contents that it picks from have one place in the ring.
            form.pop(use.symbol, None)
        return form

    def row_ring(self, row: int) -> tuple[int, int] | None:
        """Size and first address of the ring that a row accesses, in slices; the first is a multiple of the size."""
        access = self.slot.rows[row]
        size = ring_of(access.memref) if access else None
        if access is None or size is None:
            return None
        words = -(-size // self.banks[0].lanes)
        return words * self.slices, place_of(access.memref)[1] * self.slices


def make_port(slot: Slot, banks: Mapping[str, Bank], weights: WeightStream | None) -> Port:
    """The port of a slot: a stream, a scalar, or a port of the banks, which are given by name."""
    if slot.kind == "memory":
        return MemoryPort(slot, banks, weights)
    return StreamPort(slot) if slot.kind == "stream" else ScalarPort(slot)
