"""The weight loader: an AXI4 read master that fills the constant banks, once, and computes a checksum of what came."""

from __future__ import annotations

from typing import Any

from gradcam.passes.hw.builder import Builder, module
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.value import State, Value, bits_for
from gradcam.passes.hw.weight_reader import (
    ADDRESS,
    BURST,
    ERROR,
    IDENTIFIER,
    INCREMENTING,
    LENGTH,
    OKAY,
    SIZE,
    axi_ports,
    counted,
)
from gradcam.passes.program.weight_load import WeightLoad

#: The name of the module and of its instance.
LOADER = "weight_loader"

#: The polynomial of CRC-32 (ISO 3309), bits reflected, and its width.
POLYNOMIAL, CHECKSUM = 0xEDB88320, 32

#: Outputs: i1: a load is under way; i1: the banks are filled, and nothing was wrong; CRC-32 of all beats.
LOADING, LOADED, CRC = Signal("loading"), Signal("loaded"), Signal("checksum", CHECKSUM)


def build_weight_loader(load: WeightLoad, crossing: int) -> Any:
    """Builds the module `weight_loader`.

    `go` starts a load, while none is under way. `wdata` has the beat that arrives in its highest bits, and those before
    it below: with the last beat of a word, or of a piece of a word that a memory holds, its highest bits are that word
    or piece. `wen` has a bit for each bank, `waddr` is the word's address, `place` the number of the beat in it.

    `error` is 1 from a beat with a response other than OKAY, another identifier than that of reads, or RLAST in the
    wrong place, until the next load. `loaded` is 0 from `go` on, and stays 0 after an error.

    Args:
        load: the load.
        crossing: 1 with a clock, else 0: the cycles for which ARADDR has its value before ARVALID is 1.
    """
    requests, channel = axi_ports(load.dram.width)
    words, beats = max(bank.words for bank in load.banks), max(map(load.piece_beats, load.banks))
    outputs = [LOADING, LOADED, CRC, ERROR, *channel, Signal("wen", len(load.banks))]
    outputs += [Signal("waddr", bits_for(words)), Signal("place", bits_for(max(map(load.word_beats, load.banks))))]
    outputs.append(Signal("wdata", beats * load.dram.width))

    def build(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        return _Loader(load, b, p, crossing).outputs()

    comment = (
        f"Loader of the weights: an AXI4 master with {load.dram.width} bits of data, which fills the constant banks"
    )
    return module(LOADER, [Signal("go"), *requests], outputs, build, comment=comment)


class _Loader:
    """The body of the weight loader."""

    def __init__(self, load: WeightLoad, b: Builder, p: dict[str, Value], crossing: int) -> None:
        self.load, self.b, self.p, self.go, self.crossing = load, b, p, p["go"], crossing
        self.loading = b.state(1, "loading", reset=0)
        self.arrives = p["rvalid"] & self.loading

    def outputs(self) -> dict[str, Value]:
        """Builds the loader and returns its outputs by name."""
        b, p, go = self.b, self.p, self.go
        left = b.state(bits_for(self.load.beats + 1), "left", reset=0)
        left.assign(b.mux(go, self.load.beats, left - 1), go | self.arrives)
        last = left.eq(1)
        self.loading.assign(go | (self.loading & ~(self.arrives & last)))
        burst = self.load.burst
        arrived = b.state(bits_for(burst), "arrived")
        arrived.assign(b.mux(go | arrived.eq(burst - 1), 0, arrived + 1), go | self.arrives)
        ends = last | arrived.eq(burst - 1)
        failed, loaded = b.state(1, "failed", reset=0), b.state(1, "loaded", reset=0)
        wrong = self.arrives & b.any_of(p["rresp"].ne(OKAY), p["rid"].ne(IDENTIFIER), p["rlast"].ne(ends))
        failed.assign(~go & (failed | wrong))
        loaded.assign(~go & (loaded | b.all_of(self.arrives, last, ~failed, ~wrong)))
        return {
            LOADING: self.loading,
            LOADED: loaded,
            CRC: ~self._checksum(),
            ERROR: failed,
            **self._requests(self.arrives & ends),
            **self._words(),
        }

    def _requests(self, ended: Value) -> dict[str, Value]:
        """The outputs of the read channels; `ended` is i1: the last beat of a burst arrives."""
        b, go, dram, burst = self.b, self.go, self.load.dram, self.load.burst
        bursts, bytes_ = -(-self.load.beats // burst), dram.width // 8
        number, asking = b.state(bits_for(bursts + 1), "number"), b.state(1, "asking", reset=0)
        under_way = b.state(bits_for(dram.outstanding + 1), "under_way", reset=0)
        settled = b.state(1, "settled", reset=0) if self.crossing else b.const(1, 1)
        valid = b.all_of(asking, under_way.ne(dram.outstanding), settled)
        sent, is_last = valid & self.p["arready"], number.eq(bursts - 1)
        if isinstance(settled, State):
            settled.assign(~(go | sent))
        asking.assign(go | (asking & ~(sent & is_last)))
        number.assign(b.mux(go, 0, number + 1), go | sent)
        under_way.assign(counted(under_way, sent, ended))
        shift = (burst * bytes_ - 1).bit_length()
        address = b.concat([number, b.const(0, shift)]) if shift else number
        return {
            "arvalid": valid,
            "araddr": address.zero_extend(ADDRESS) if address.width < ADDRESS else address[:ADDRESS],
            "arlen": b.mux(is_last, self.load.beats - (bursts - 1) * burst - 1, b.const(burst - 1, LENGTH)),
            "arsize": b.const(bits_for(bytes_) if bytes_ > 1 else 0, SIZE),
            "arburst": b.const(INCREMENTING, BURST),
            "rready": b.const(1, 1),
        }

    def _words(self) -> dict[str, Value]:
        """The write ports of the banks."""
        b, load, go, arrives = self.b, self.load, self.go, self.arrives
        beats, words = [load.word_beats(bank) for bank in load.banks], [bank.words for bank in load.banks]
        bank, place = b.state(bits_for(len(words) + 1), "bank"), b.state(bits_for(max(beats)), "place")
        address = b.state(bits_for(max(words)), "address")
        whole = place.eq(b.table(bank, [*(n - 1 for n in beats), 0], place.width))
        full = address.eq(b.table(bank, [*(n - 1 for n in words), 0], address.width))
        written = arrives & whole
        place.assign(b.mux(go | whole, 0, place + 1), go | arrives)
        address.assign(b.mux(go | full, 0, address + 1), go | written)
        bank.assign(b.mux(go, 0, bank + 1), go | (written & full))
        data, width, most = self.p["rdata"], load.dram.width, max(map(load.piece_beats, load.banks))
        if most > 1:
            before = b.state((most - 1) * width, "word")
            data = b.concat([data, before])
            before.assign(data[width:], arrives)
        return {
            "wen": b.concat([arrives & bank.eq(i) for i in reversed(range(len(words)))]),
            "waddr": address,
            "place": place,
            "wdata": data,
        }

    def _checksum(self) -> Value:
        """The register of the CRC-32 of all beats so far, not yet complemented."""
        b, data = self.b, self.p["rdata"]
        state = b.state(CHECKSUM, "crc")
        inputs = [*(state[i] for i in range(CHECKSUM)), *(data[i] for i in range(data.width))]
        terms = [[v for v, used in zip(inputs, row, strict=True) if used] for row in crc_rows(data.width)]
        after = b.concat([b.comb("xor", *values) for values in reversed(terms)])
        state.assign(b.mux(self.go, (1 << CHECKSUM) - 1, after), self.go | self.arrives)
        return state


def crc_rows(width: int) -> list[list[bool]]:
    """The CRC-32 of a beat more as a linear map: for each bit of the new state the bits that it is the sum of.

    A row has the 32 bits of the state before, then the `width` bits of the beat, of which the lowest one comes first.
    """
    state = [1 << i for i in range(CHECKSUM)]  # each bit as the set of bits that it is the sum of
    for bit in range(width):
        feedback = state[0] ^ 1 << CHECKSUM + bit
        state = [*state[1:], 0]
        state = [row ^ feedback if POLYNOMIAL >> i & 1 else row for i, row in enumerate(state)]
    return [[bool(row >> i & 1) for i in range(CHECKSUM + width)] for row in state]
