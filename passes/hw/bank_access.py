"""The multiplexers around a bank: each of its two ports belongs to the one engine port that is active."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.memory import address_bits
from gradcam.passes.hw.ports import MemoryPort
from gradcam.passes.hw.value import Value
from gradcam.passes.program.banks import Bank


@dataclass(frozen=True)
class Request:
    """An access that an engine port may make to the bank in this cycle.

    Attributes:
        port: the engine port.
        enable: a bit per slice of a write, i1 of a read; 0 while the port accesses another bank.
        word: the address of the word.
        slice: the number of the slice in it; None of whole words.
    """

    port: MemoryPort
    enable: Value
    word: Value
    slice: Value | None


class BankAccess:
    """Connects a bank to the engine ports that reach it."""

    def __init__(
        self,
        b: Builder,
        bank: Bank,
        engines: Sequence[tuple[Mapping[str, Value], MemoryPort]],
        groups: int,
        crossing: int,
    ) -> None:
        """Lays out the accesses.

        Args:
            b: of the module around bank and engines.
            bank: the bank, of whose words `groups` lane groups can be written alone.
            engines: the outputs of each engine and the port by which it reaches the bank.
            groups: lane groups of a word.
            hop: 1 where what goes to the bank and comes from it is registered.
        """
        self.b, self.bank, self.engines, self.groups, self.crossing = b, bank, engines, groups, crossing

    def connect(
        self, op: Any, writes: Mapping[str, Value] | None = None, moving: Sequence[Value] = ()
    ) -> dict[int, Value]:
        """An instance of the bank's module `op`; its read data by slices per word.

        A slice is picked here, once for all engines: wide words then end at their bank, and so does the mux.

        Args:
            op: the module.
            writes: inputs of the write port, by which the tape reader writes the bank instead of engines.
            moving: i1 of each engine that can stop with its reads on their way.
        """
        b, reads = self.b, self._requests(store=False)
        active = [read.enable.ne(0) for read in reads]
        inputs = {"ren": b.any_of(*active), "raddr": b.priority_mux(active, [read.word for read in reads])}
        if not self.bank.constant:
            inputs |= self._writes() if writes is None else writes
        if moving:
            inputs["moving"] = b.all_of(*moving)
        enable = inputs.get("moving") if self.crossing else inputs["ren"]
        picked = self._picked(reads, enable)
        return self._slices(b.instance(op, self.bank.name, inputs)["rdata"], picked)

    def _requests(self, store: bool) -> list[Request]:
        found = []
        for values, port in self.engines:
            if port.slot.store != store:
                continue
            enable, address = values[port.enable], values[port.address]
            if len(port.banks) > 1:
                here = values[port.bank].eq(port.banks.index(self.bank))
                enable = self.b.mux(here, enable, 0)
            low = port.address.bits - port.address_bits
            word = address[low:].zero_extend(address_bits(self.bank))
            part = address[:low] if low else None
            found.append(Request(port, enable, word, part))
        return found

    def _writes(self) -> dict[str, Value]:
        """Inputs of the bank's write port."""
        b, writes = self.b, self._requests(store=True)
        active = [write.enable.ne(0) for write in writes]
        data = [values[port.data] for values, port in self.engines if port.slot.store]
        return {
            "wen": b.any_of(*(write.enable.replicate(self.groups) for write in writes)),
            "waddr": b.priority_mux(active, [write.word for write in writes]),
            "wdata": b.priority_mux(active, data),
        }

    def _picked(self, reads: Sequence[Request], enable: Value | None) -> dict[int, Value]:
        """The number of the slice that is read, by slices per word, when its word comes out of the bank."""
        b, choices = self.b, dict[int, list[tuple[Value, Value]]]()
        for read in reads:
            if read.slice is not None:
                choices.setdefault(read.port.slices, []).append((read.enable, read.slice))
        picked = {n: b.priority_mux(*zip(*pairs, strict=True)) for n, pairs in choices.items()}
        for _ in range(1 + 2 * self.crossing):
            picked = {n: b.register(v, f"{self.bank.name}_pick{n}", enable) for n, v in picked.items()}
        return picked

    def _slices(self, word: Value, picked: Mapping[int, Value]) -> dict[int, Value]:
        """The slice of a word that is picked by the number of slices in it; the word itself by 1."""
        found = {1: word}
        for count, pick in picked.items():
            width = word.width // count
            found[count] = self.b.select(pick, [word[i * width : (i + 1) * width] for i in range(count)])
        return found
