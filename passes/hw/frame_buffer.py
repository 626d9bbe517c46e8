"""A frame buffer: a memory that holds one complete packet while the next one is written behind it."""

from __future__ import annotations

from typing import Any

from gradcam.passes.hw.builder import Builder, module
from gradcam.passes.hw.memory import build_bank
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.value import Value, bits_for
from gradcam.passes.program.banks import Bank


def build_frame_buffer(name: str, width: int, words: int, first: int = 0, crossing: int = 0) -> Any:
    """Builds the module `name`, and the memory `NAME_memory` that it instantiates.

    Words are written at one side in cyclic order, beginning with word `first`, and read at the other side in order from
    word 0. A packet is complete (`whole`) when its last word is written together with `ends`. Three events discard the
    packet that is being written: `ends` with an earlier word, a last word without `ends`, and `rewind` in any cycle.
    A complete packet is read while `leave` is 1 and discarded by `drop`. A word of the next packet may be written as
    soon as the word in its place is read, so that no cycle is lost between packets.

    Ports:

    - write side: the stream `put_valid`, `put_data`, `put_ready`; `ends`, which is 1 with a valid word only; `rewind`;
      `pause`, which makes `put_ready` 0 in the next cycle; and the output `put_last`, which is 1 while the next word is
      the last one of a packet, written or not
    - read side: the stream `take_valid`, `take_data`, `take_ready`, `take_last`; `leave`, `drop` and `whole`

    Args:
        name: name of the module.
        width: bits of a word.
        words: words of a packet.
        first: the number of the word that is written first; the words before it are written last.
        crossing: registers behind the memory for the word that is read, 0 or 1.
    """
    memory = Bank(f"{name}_memory", 1, width, words, constant=False)
    bank = build_bank(memory, 1, "a packet", late=bool(crossing))
    inputs = [Signal("put_valid"), Signal("put_data", width)]
    inputs += [Signal(n) for n in ("ends", "rewind", "pause", "leave", "drop", "take_ready")]
    outputs = [Signal(n) for n in ("put_ready", "put_last", "whole", "take_valid")]
    outputs += [Signal("take_data", width), Signal("take_last")]

    def build(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        return _FrameBuffer(b, p, words, first, crossing).build(bank)

    return module(name, inputs, outputs, build, comment=f"Frame buffer: one packet of {words} words")


class _FrameBuffer:
    """The body of a frame buffer."""

    def __init__(self, b: Builder, p: dict[str, Value], words: int, first: int, crossing: int) -> None:
        self.b, self.p, self.words, self.first = b, p, words, first
        bits, self.second_last = bits_for(words), (first - 2) % words
        self.write = b.state(bits, "write", reset=first)
        # Free space is seen a cycle late: another word may have been written meanwhile. This is the place behind it.
        self.ahead = b.state(bits + 1, "ahead", reset=first + 2)
        self.read = b.state(bits, "read", reset=0)
        self.whole = b.state(1, "whole_q", reset=0)
        self.held = b.state(1, "held", reset=0)  # the memory's output holds a word that is not taken yet
        #: i1: the word behind the memory is taken, or moves on to the register that has room for it.
        self.moves = p["take_ready"]
        self.full = b.state(1, "full", reset=0) if crossing else None  # that register holds a word
        if self.full is not None:
            self.moves = self.moves | ~self.full
            self.full.assign(self.held, self.moves)
        # Both are registers, because they are the back-pressure on the source: it may see free space a cycle late.
        self.room = b.state(1, "room", reset=1)
        self.last = b.state(1, "put_last_q", reset=int(words == 1))

    def build(self, bank: Any) -> dict[str, Value]:
        """Instantiates the memory `bank` and returns the outputs of the buffer."""
        put, commit = self._put_side()
        take, at_end = self._take_side(commit)
        access = {"ren": take, "raddr": self.read, "wen": put, "waddr": self.write, "wdata": self.p["put_data"]}
        last = self.b.register(at_end, "last", take)
        if self.full is not None:
            access, last = {**access, "moves": self.moves}, self.b.register(last, "last_q", self.moves)
        memory = self.b.instance(bank, "words", access)
        return {
            "put_ready": self.room,
            "put_last": self.last,
            "whole": self.whole,
            "take_valid": self.held if self.full is None else self.full,
            "take_data": memory["rdata"],
            "take_last": last,
        }

    def _put_side(self) -> tuple[Value, Value]:
        """Builds the write address.

        Returns:
            i1: a word is written; i1: the packet becomes complete with it.
        """
        b, p = self.b, self.p
        put = p["put_valid"] & self.room
        starts_over = b.any_of(p["rewind"], p["ends"], self.last)  # valid where `moving` is 1
        commit = b.all_of(self.room, p["ends"], self.last)
        moving = p["rewind"] | put
        self.write.assign(b.mux(starts_over, self.first, self.write.incremented(self.words)), moving)
        ahead = self.ahead + 1
        if self.first:
            ahead = b.mux(self.write.eq(self.words - 1), 2, ahead)
        self.ahead.assign(b.mux(starts_over, self.first + 2, ahead), moving)
        nearly = self.write.eq(self.second_last)
        self.last.assign(b.mux(starts_over, int(self.words == 1), nearly), moving)
        return put, commit

    def _take_side(self, commit: Value) -> tuple[Value, Value]:
        """Builds the read address, and the flags of a complete packet and of free space.

        Returns:
            i1: a word is read; i1: it is the last one of its packet.
        """
        b, p, bits = self.b, self.p, self.read.width
        take = b.all_of(self.whole, p["leave"], ~self.held | self.moves)
        at_end = b.state(1, "read_at_end", reset=int(self.words == 1))
        empty = p["drop"] | (take & at_end)
        free = b.register(self.ahead.ult(self.read.zero_extend(bits + 1)) & ~empty, "free", reset=0)
        self.room.assign(b.all_of(~commit, ~self.whole | free, ~self.p["pause"]))
        self.whole.assign(commit | (self.whole & ~empty))
        starts_over, moving = p["drop"] | at_end, p["drop"] | take
        self.read.assign(b.mux(starts_over, 0, self.read + 1), moving)
        at_end.assign(b.mux(starts_over, int(self.words == 1), self.read.eq(max(self.words - 2, 0))), moving)
        self.held.assign(take | (self.held & ~self.moves))
        return take, at_end
