"""The ports of an engine, declared once: the engine's header, the sequencer and the top read their names here."""

from __future__ import annotations

from collections.abc import Mapping

from gradcam.passes.hw.signals import Signal, Stream
from gradcam.passes.hw.value import bits_for
from gradcam.passes.ir.linear_form import Linear
from gradcam.passes.program.banks import Bank, address_form, place_of, ring_of, slices_of
from gradcam.passes.program.engines import Engine, Slot
from gradcam.passes.program.runs import Follow
from gradcam.passes.program.weight_stream import WeightStream


class Control:
    """The control ports of an engine: ports to the sequencer, and the clock enable `moving` for memories.

    Attributes:
        engine: the engine's name.
        configuration: input: the number of the configuration; only engines with several have it.
        go: i1 input: the configuration starts.
        written: i1 input: the producer has committed another iteration.
        producer_done: i1 input: the producer has ended.
        done: i1 output: the configuration has ended.
        committed: i1 output: the configuration has committed another iteration, which means that it is stored.
        moving: i1 output to memories: the pipeline moves, and with it the reads in flight.
        counted: whether the engine runs a producer and so has the output `committed`.
        gated: whether the engine runs a nest that follows a producer and so waits for committed iterations.
        inputs, outputs: the ports from and to the sequencer.
    """

    go, written, producer_done = Signal("go"), Signal("written"), Signal("over")
    done, committed, moving = Signal("done"), Signal("landed"), Signal("moving")

    def __init__(self, engine: Engine, follows: Mapping[int, Follow]) -> None:
        """Declares the ports of `engine`; `follows` has the nests that run behind a producer, by its number."""
        self.engine = engine.name
        self.configuration = Signal("row", bits_for(len(engine.configurations)))
        self.counted = any(follow.producer in engine.configurations for follow in follows.values())
        self.gated = any(follow.nest in engine.configurations for follow in follows.values())
        configurations = [self.configuration] if len(engine.configurations) > 1 else []
        self.inputs = [self.go, *configurations, *([self.written, self.producer_done] if self.gated else [])]
        self.outputs = [self.done, *([self.committed] if self.counted else [])]


class Port:
    """The hardware port of a slot of an engine.

    Attributes:
        slot: the accesses that go through the port.
        name: name of the slot, the prefix of the port's signals.
        width: bits of data.
        inputs, outputs: the port's signals that are inputs and outputs of the engine.
    """

    inputs: list[Signal]
    outputs: list[Signal]

    def __init__(self, slot: Slot, width: int | None = None) -> None:
        """Takes the slot and the bits of data; by default as many as all lanes of the slot have."""
        self.slot, self.name = slot, slot.name
        self.width = slot.example.lanes * slot.example.element_bits if width is None else width

    def signal(self, end: str, bits: int = 1) -> Signal:
        """The signal of the port whose name ends in `end`."""
        return Signal(end, bits).of(self.name)


class StreamPort(Port):
    """A valid/ready stream into or out of the engine."""

    def __init__(self, slot: Slot) -> None:
        """Declares the stream of `slot`."""
        super().__init__(slot)
        self.stream = Stream.of(self.name, self.width)
        forwards, backwards = [self.stream.valid, self.stream.data], [self.stream.ready]
        self.inputs, self.outputs = (backwards, forwards) if slot.store else (forwards, backwards)


class ScalarPort(Port):
    """A port for one value: a register of the program that is read or written, or a one-element input of the top.

    Attributes:
        data: the value.
        enable: i1 write enable.
    """

    def __init__(self, slot: Slot) -> None:
        """Declares the port of `slot`."""
        super().__init__(slot)
        self.data, self.enable = self.signal("data", self.width), self.signal("en")
        self.inputs, self.outputs = ([], [self.data, self.enable]) if slot.store else ([self.data], [])


class MemoryPort(Port):
    """A read or write port of the banks.

    Attributes:
        banks: the banks that configurations access through the port.
        bank_of: per configuration, the number of its bank in `banks`.
        uses: per configuration, the words that it reads from the weight stream; None where it reads something else.
        slices: slices per word of each bank. A slice has the lanes of one access; the lowest address bits select it. A
            read slice is selected behind the bank.
        address_bits, slice_bits: bits of a word address, and of the number of a slice in the word.
        most_slices: slices per word of the bank with the widest words; an address counts them. A bank with narrower
            words has only every n-th of them.
        enable: the read enable, or write enables, one bit per slice.
        address: the word address; for a read followed by the number of the slice in the lowest bits.
        bank: the number of the bank that is accessed.
        source: the number of the bank whose data arrives.
        data: the slice that is read, or the word that is written.
        word_ready: i1 input: a complete word of the weight stream that no engine has read is in the ring.
        fresh: i1 output: a word of the weight stream is read for the first time.
        free: i1 output: a word of the weight stream is read for the last time.
    """

    def __init__(self, slot: Slot, banks: Mapping[str, Bank], weights: WeightStream | None) -> None:
        """Determines the banks that a slot accesses and the position of its lanes in their words.

        Raises:
            GradcamError: the lanes of an access would straddle two words of a bank.
        """
        used = [None if a is None else banks[place_of(a.memref)[0]] for a in slot.accesses]
        self.banks = list(dict.fromkeys(b for b in used if b is not None))
        self.bank_of = [0 if b is None else self.banks.index(b) for b in used]
        self.uses = [weights.use_of(a) if weights else None for a in slot.accesses]
        self.slices = slices_of([(a, b) for a, b in zip(slot.accesses, used, strict=True) if a and b])
        self.most_slices = max(slices.places for slices in self.slices.values())
        self.address_bits = max(bits_for(b.words) for b in self.banks)
        self.slice_bits = (self.most_slices - 1).bit_length()
        slice_width = self.slices[self.banks[0]].lanes * self.banks[0].bits
        super().__init__(slot, slice_width * (self.most_slices if slot.store else 1))
        self._declare()

    def _declare(self) -> None:
        store, bank_bits = self.slot.store, bits_for(len(self.banks))
        self.enable = self.signal("en", self.most_slices if store else 1)
        self.address = self.signal("addr", self.address_bits + (0 if store else self.slice_bits))
        self.bank, self.source = self.signal("bank", bank_bits), self.signal("from", bank_bits)
        self.data = self.signal("data", self.width)
        self.word_ready, self.fresh, self.free = self.signal("ready"), self.signal("fresh"), self.signal("free")
        numbers = [self.bank] if store else [self.bank, self.source]
        self.inputs, self.outputs = [], [self.enable, self.address, *(numbers if len(self.banks) > 1 else [])]
        (self.outputs if store else self.inputs).append(self.data)

    @property
    def reads_weight_stream(self) -> bool:
        """Whether a configuration reads the weight stream.

        Such a port reports the first and the last read of a word, and stalls the engine until a word is complete.
        """
        return any(self.uses)

    def form_in_slices(self, configuration: int) -> Linear | None:
        """The address of a configuration's access in slices, as a linear form; None without an access."""
        access = self.slot.accesses[configuration]
        if access is None:
            return None
        bank, use = self.banks[self.bank_of[configuration]], self.uses[configuration]
        offset = 0 if ring_of(access.memref) else place_of(access.memref)[1]
        form = address_form(access, bank, offset, self.slices[bank])
        form = {term: c * (self.most_slices // self.slices[bank].places) for term, c in form.items()}
        if use is not None and use.symbol is not None:
            # The weight reader applies the symbol: all alternatives occupy the same place in the ring.
            form.pop(use.symbol, None)
        return form

    def ring_in_slices(self, configuration: int) -> tuple[int, int] | None:
        """Size and first address, in slices, of the ring that a configuration accesses; None if it accesses none.

        The first address is a multiple of the size.
        """
        access = self.slot.accesses[configuration]
        size = ring_of(access.memref) if access else None
        if access is None or size is None:
            return None
        words = -(-size // self.banks[self.bank_of[configuration]].lanes)
        return words * self.most_slices, place_of(access.memref)[1] * self.most_slices


def make_port(slot: Slot, banks: Mapping[str, Bank], weights: WeightStream | None) -> Port:
    """The hardware port of a slot: a stream, a scalar or a memory port.

    Args:
        slot: the slot.
        banks: banks by name.
        weights: the weight stream; None when all constants are on chip.
    """
    if slot.kind == "memory":
        return MemoryPort(slot, banks, weights)
    return StreamPort(slot) if slot.kind == "stream" else ScalarPort(slot)
