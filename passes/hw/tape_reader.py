"""The tape reader: an AXI4 read master that keeps the ring of weights filled ahead of the engines."""

from __future__ import annotations

from typing import Any

from gradcam.passes.hw.builder import Builder, Value, bits_for, module, width_of
from gradcam.passes.program.tape import Tape

#: Width of an address, and of the fields of AXI4 that are constant or counted.
ADDRESS, LENGTH, SIZE, BURST, RESPONSE = 32, 8, 3, 2, 2

#: ARBURST of a burst whose addresses go up.
INCREMENTING = 1


def axi_ports(width: int) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Inputs and outputs of the read channels with `width` bits of data."""
    inputs = [("arready", 1), ("rvalid", 1), ("rdata", width), ("rresp", RESPONSE), ("rlast", 1)]
    outputs = [
        ("arvalid", 1),
        ("araddr", ADDRESS),
        ("arlen", LENGTH),
        ("arsize", SIZE),
        ("arburst", BURST),
        ("rready", 1),
    ]
    return inputs, outputs


def build_tape_reader(tape: Tape, nest_bits: int, symbols: dict[Any, int]) -> Any:
    """The module `tape_reader`.

    It starts over with `go`. While `ready` is 1, a word that no engine has read yet is in the ring. In a cycle, an
    engine takes one such word (`fresh`) and gives back one that it needs no longer (`free`). Because requests never
    exceed the room in the ring, `rready` is always 1. `error` says that a beat of this run had an error response.

    Args:
        tape: what to read.
        nest_bits: width of `nest`, the number of the nest that runs; a segment with a symbol waits for it.
        symbols: bits of each symbolic term.
    """
    waits = any(segment.after for segment in tape.segments)
    requests, channel = axi_ports(tape.width)
    inputs = [("go", 1), ("fresh", 1), ("free", 1), *requests]
    inputs += [("nest", nest_bits)] if waits else []
    inputs += [(f"symbol{i}", width) for i, width in enumerate(symbols.values())]
    beats = tape.word_beats
    outputs = [("ready", 1), ("error", 1), *channel]
    outputs += [("wen", beats), ("waddr", bits_for(tape.bank.words)), ("wdata", tape.bank.width)]

    def build(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        return _Reader(tape, b, p, list(symbols)).outputs()

    comment = f"Reader of the weight tape: an AXI4 master with {tape.width} bits of data, ahead of the engines"
    return module("tape_reader", inputs, outputs, build, comment=comment)


class _Reader:
    def __init__(self, tape: Tape, b: Builder, p: dict[str, Value], symbols: list[Any]) -> None:
        self.tape, self.b, self.p, self.symbols = tape, b, p, symbols
        self.segments = tape.segments
        self.beats = [s.words * tape.word_beats for s in self.segments]

    def outputs(self) -> dict[str, Value]:
        b, p, tape = self.b, self.p, self.tape
        room_bits = bits_for(tape.bank.words * tape.word_beats + 1)
        room, connect_room = b.state(room_bits, "room")
        under_way, connect_under_way = b.state(bits_for(tape.outstanding + 1), "under_way", reset=0)
        segment, connect_segment = b.state(bits_for(len(self.segments) + 1), "segment")
        left_bits = bits_for(max(self.beats) + 1)
        left, connect_left = b.state(left_bits, "left", reset=0)
        bits = max(left_bits, room_bits, LENGTH + 1)
        last = b.compare("ule", left, b.const(tape.burst, left_bits)) if tape.burst < max(self.beats) else b.const(1, 1)
        length = b.mux(last, b.zero_extend(left, bits), b.const(tape.burst, bits))
        valid = b.all_of(
            b.compare("ne", left, b.const(0, left_bits)),
            b.compare("ule", length, b.zero_extend(room, bits)),
            b.compare("ne", under_way, b.const(tape.outstanding, bits_for(tape.outstanding + 1))),
            *self._known(segment),
        )
        sent = b.all_of(valid, p["arready"])
        after = b.table(segment, [*self.beats[1:], 0, 0], left_bits)
        rest = b.op("comb.sub", left.type, [left, b.bits(length, 0, left_bits)])
        moving = b.any_of(p["go"], sent)
        connect_left(b.mux(p["go"], b.const(self.beats[0], left_bits), b.mux(last, after, rest)), moving)
        one = b.const(1, bits_for(len(self.segments) + 1))
        first = b.const(0, bits_for(len(self.segments) + 1))
        connect_segment(b.mux(p["go"], first, b.add(segment, one)), b.any_of(p["go"], b.all_of(sent, last)))
        taken = b.mux(sent, length, b.const(0, bits))
        connect_room(self._room(room, taken, room_bits))
        ended = b.all_of(p["rvalid"], p["rlast"])
        connect_under_way(self._count(under_way, sent, ended))
        address = b.add(self._base(segment), self._offset(left, segment))
        bytes_ = tape.width // 8
        return {
            "arvalid": valid,
            "araddr": address,
            "arlen": b.bits(b.add(length, b.const(-1, bits)), 0, LENGTH),
            "arsize": b.const(bits_for(bytes_) if bytes_ > 1 else 0, SIZE),
            "arburst": b.const(INCREMENTING, BURST),
            "rready": b.const(1, 1),
            **self._arrival(),
        }

    def _room(self, room: Value, taken: Value, bits: int) -> Value:
        """Beats free in the ring after this cycle."""
        b, tape = self.b, self.tape
        free = b.zero_extend(self.p["free"], bits)
        shift = (tape.word_beats - 1).bit_length()
        if shift:
            free = b.concat([b.bits(free, 0, bits - shift), b.const(0, shift)])
        left = b.op("comb.sub", room.type, [b.add(room, free), b.bits(taken, 0, bits)])
        return b.mux(self.p["go"], b.const(tape.bank.words * tape.word_beats, bits), left)

    def _count(self, count: Value, up: Value, down: Value) -> Value:
        """`count` plus `up` minus `down`."""
        b, bits = self.b, width_of(count)
        return b.op("comb.sub", count.type, [b.add(count, b.zero_extend(up, bits)), b.zero_extend(down, bits)])

    def _known(self, segment: Value) -> list[Value]:
        """i1: what picks the contents of the segment is known."""
        if "nest" not in self.p:
            return []
        nest = self.p["nest"]
        bits = width_of(nest)
        after = self.b.table(segment, [*(s.after for s in self.segments), 0], bits)
        return [self.b.compare("uge", nest, after)]

    def _base(self, segment: Value) -> Value:
        """Where the contents of the segment begin."""
        b, tape = self.b, self.tape
        base = b.table(segment, [*(s.base for s in self.segments), 0], ADDRESS)
        for i, symbol in enumerate(self.symbols):
            strides = [tape.stride(s) if s.symbol == symbol else 0 for s in self.segments]
            for stride in dict.fromkeys(s for s in strides if s):
                picked = b.table(segment, [*(int(s == stride) for s in strides), 0], 1)
                part = b.zero_extend(self.p[f"symbol{i}"], ADDRESS)
                product = b.op("comb.mul", part.type, [part, b.const(stride, ADDRESS)])
                base = b.add(base, b.mux(picked, product, b.const(0, ADDRESS)))
        return base

    def _offset(self, left: Value, segment: Value) -> Value:
        """Bytes of the segment that are requested already."""
        b = self.b
        whole = b.table(segment, [*self.beats, 0], ADDRESS)
        done = b.op("comb.sub", whole.type, [whole, b.zero_extend(left, ADDRESS)])
        shift = (self.tape.width // 8 - 1).bit_length()
        return b.concat([b.bits(done, 0, ADDRESS - shift), b.const(0, shift)]) if shift else done

    def _arrival(self) -> dict[str, Value]:
        """Beats into the ring, words counted until they are read, and the error flag."""
        b, p, tape = self.b, self.p, self.tape
        low, words = (tape.word_beats - 1).bit_length(), bits_for(tape.bank.words)
        place, connect_place = b.state(low + words, "place")
        next_place = b.following(place, tape.bank.words * tape.word_beats)
        go, arrives = p["go"], p["rvalid"]
        connect_place(b.mux(go, b.const(0, low + words), next_place), b.any_of(go, arrives))
        enables, complete = [arrives], arrives
        if low:
            part = b.bits(place, 0, low)
            enables = [b.all_of(arrives, b.compare("eq", part, b.const(i, low))) for i in range(tape.word_beats)]
            complete = enables[-1]
        unread, connect_unread = b.state(bits_for(tape.bank.words + 1), "unread", reset=0)
        connect_unread(b.mux(go, b.const(0, width_of(unread)), self._count(unread, complete, p["fresh"])))
        error, connect_error = b.state(1, "failed", reset=0)
        failed = b.all_of(arrives, b.bits(p["rresp"], RESPONSE - 1, 1))
        connect_error(b.all_of(b.negate(go), b.any_of(error, failed)))
        return {
            "ready": b.compare("ne", unread, b.const(0, width_of(unread))),
            "error": error,
            "wen": b.concat(enables[::-1]),
            "waddr": b.bits(place, low, words),
            "wdata": b.concat([p["rdata"]] * tape.word_beats),
        }
