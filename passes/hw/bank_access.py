"""The multiplexers around a bank: its read and its write port serve the engine port that is active in a cycle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.memory import address_bits, of_word
from gradcam.passes.hw.ports import MemoryPort
from gradcam.passes.hw.value import Value
from gradcam.passes.program.banks import Bank, Slices


@dataclass(frozen=True)
class Request:
    """The access that an engine port requests from the bank.

    Attributes:
        port: the engine port.
        enable: the write enables, one per slice, or the read enable (i1); 0 while the port accesses another bank.
        word: the address of the word.
        slice: the number of the slice in the word; None for whole words.
    """

    port: MemoryPort
    enable: Value
    word: Value
    slice: Value | None


class BankAccess:
    """Connects a bank to the engine ports that access it."""

    def __init__(
        self,
        b: Builder,
        bank: Bank,
        engines: Sequence[tuple[Mapping[str, Value], MemoryPort]],
        groups: int,
        crossing: int,
    ) -> None:
        """Takes the bank and the engine ports.

        Args:
            b: the builder of the module around bank and engines.
            bank: the bank.
            engines: per engine port that accesses the bank: the outputs of its engine, and the port.
            groups: lane groups of a word, each of which has a write enable.
            crossing: crossing latency in cycles; 1 where inputs and outputs of the bank are registered.
        """
        self.b, self.bank, self.engines, self.groups, self.crossing = b, bank, engines, groups, crossing

    def connect(
        self, op: Any, writes: Mapping[str, Value] | None = None, moving: Sequence[Value] = ()
    ) -> dict[Slices, Value]:
        """Instantiates the bank and multiplexes its ports.

        Slices are selected here, once for all engines, so that the wires of a whole word stay close to the bank.

        Args:
            op: the bank's module.
            writes: inputs of the write port from the weight reader or loader; None where engines write the bank.
            moving: the clock enable (i1) of each engine that can stall while its reads are in flight.

        Returns:
            The read data by the slices of a word: the selected one, and the whole word.
        """
        b, reads = self.b, self._requests(store=False)
        active = [read.enable.ne(0) for read in reads]
        # Canonicalization can leave a bank without a reader: a product with weights that are all zero reads nothing.
        words = [read.word for read in reads] or [b.const(0, address_bits(self.bank))]
        inputs = {"ren": b.any_of(*active) if reads else b.const(0, 1), "raddr": b.priority_mux(active, words)}
        if self.bank.written:
            inputs |= self._writes() if writes is None else writes
        if moving:
            inputs["moving"] = b.all_of(*moving)
        selected = self._selected(reads, inputs["ren"], inputs.get("moving"))
        return self._slices(b.instance(op, self.bank.name, inputs)["rdata"], selected)

    def _requests(self, store: bool) -> list[Request]:
        """The requests of all engine ports that write the bank or, without `store`, read it."""
        found = []
        for values, port in self.engines:
            if port.slot.store != store:
                continue
            enable, address = values[port.enable], values[port.address]
            if len(port.banks) > 1:
                here = values[port.bank].eq(port.banks.index(self.bank))
                enable = self.b.mux(here, enable, 0)
            low, slices = port.address.bits - port.address_bits, port.slices[self.bank].places
            word = address[low:].zero_extend(address_bits(self.bank))
            part = address[low - (slices - 1).bit_length() : low] if low and slices > 1 else None
            if store:
                enable = self.b.concat(
                    [enable[i] for i in range(0, port.most_slices, port.most_slices // slices)][::-1]
                )
            found.append(Request(port, enable, word, part))
        return found

    def _by_group(self, write: Request) -> Value:
        """The write enables of the lane groups, from those of the slices."""
        slices, lanes = write.port.slices[self.bank].lanes, self.bank.lanes // self.groups
        return self.b.concat([write.enable[group * lanes // slices] for group in range(self.groups)][::-1])

    def _writes(self) -> dict[str, Value]:
        """The inputs of the bank's write port, from the engine that writes."""
        b, writes = self.b, self._requests(store=True)
        active = [write.enable.ne(0) for write in writes]
        data = [values[port.data].zero_extend(self.bank.width) for values, port in self.engines if port.slot.store]
        return {
            "wen": b.any_of(*map(self._by_group, writes)),
            "waddr": b.priority_mux(active, [write.word for write in writes]),
            "wdata": b.priority_mux(active, data),
        }

    def _selected(self, reads: Sequence[Request], enable: Value, moving: Value | None) -> dict[Slices, Value]:
        """The number of the slice that is read, by slices per word, in the cycle in which the bank outputs the word."""
        b, choices = self.b, dict[Slices, list[tuple[Value, Value]]]()
        for read in reads:
            if read.slice is not None:
                choices.setdefault(read.port.slices[self.bank], []).append((read.enable, read.slice))
        selected = {n: b.priority_mux(*zip(*pairs, strict=True)) for n, pairs in choices.items()}
        name, moving = self.bank.name, moving if self.crossing else None
        numbers = {
            n: of_word(b, v, enable, self.crossing, moving, f"{name}_pick{n.places}") for n, v in selected.items()
        }
        for _ in range(self.bank.delay):
            numbers = {n: b.register(v, f"{name}_pick{n.places}") for n, v in numbers.items()}
        return numbers

    def _slices(self, word: Value, selected: Mapping[Slices, Value]) -> dict[Slices, Value]:
        """The selected slice of a word, by the slices that it has; also the whole word."""
        found = {Slices(self.bank.lanes, 1): word}
        for slices, number in selected.items():
            width = slices.lanes * self.bank.bits
            there = [word[i : i + width] for i in range(0, word.width, width)]
            found[slices] = self.b.select(number, there + there[:1] * (slices.places - len(there)))
        return found
