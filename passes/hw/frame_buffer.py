"""A frame buffer: a memory between two sides that keeps one whole packet, while the next one follows it in."""

from __future__ import annotations

from typing import Any

from gradcam.passes.hw.builder import Builder, module
from gradcam.passes.hw.memory import build_bank
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.value import Value, bits_for
from gradcam.passes.program.banks import Bank


def build_frame_buffer(name: str, width: int, words: int, first: int = 0) -> Any:
    """The module `name`, and `NAME_memory` in it.

    Words are put in order, beginning with word `first` and going round, and taken in order from word 0 on. A packet
    becomes `whole` with its last word, if that is put with `ends`. A word that is put with `ends` too early, or is the
    last one without, makes the buffer forget the packet, and so does `rewind`, in any cycle. A whole packet leaves
    while `leave` is 1, and is forgotten with `drop`. The next packet may be put as far as words have left, so that no
    cycle is lost between two.

    Ports: `put_valid`, `put_data`, `put_ready`, and `put_last` with the last word of a packet, whether it is put or
    not; `take_valid`, `take_data`, `take_ready`, `take_last`; `ends`, `rewind`, `leave`, `drop`, `whole`.

    Args:
        name: of the module.
        width: bits of a word.
        words: of a packet.
        first: the number of the word that is put first; those before it come last.
    """
    memory = Bank(f"{name}_memory", 1, width, words, constant=False)
    bank = build_bank(memory, 1, "a packet")
    inputs = [Signal("put_valid"), Signal("put_data", width)]
    inputs += [Signal(n) for n in ("ends", "rewind", "leave", "drop", "take_ready")]
    outputs = [Signal(n) for n in ("put_ready", "put_last", "whole", "take_valid")]
    outputs += [Signal("take_data", width), Signal("take_last")]

    def build(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        return _FrameBuffer(b, p, words, first).build(bank)

    return module(name, inputs, outputs, build, comment=f"Frame buffer: one packet of {words} words")


class _FrameBuffer:
    def __init__(self, b: Builder, p: dict[str, Value], words: int, first: int) -> None:
        self.b, self.p, self.words, self.first = b, p, words, first
        bits, self.second_last = bits_for(words), (first - 2) % words
        self.write = b.state(bits, "write", reset=first)
        self.read = b.state(bits, "read", reset=0)
        self.whole = b.state(1, "whole_q", reset=0)
        self.held = b.state(1, "held", reset=0)  # the word that was read last is on its way out
        # Both are registers, for they hold back whoever puts: room may be seen a cycle late.
        self.room = b.state(1, "room", reset=1)
        self.last = b.state(1, "put_last_q", reset=int(words == 1))

    def build(self, bank: Any) -> dict[str, Value]:
        """The outputs of the buffer around the memory `bank`."""
        put, commit = self._put_side()
        take, at_end = self._take_side(commit)
        access = {"ren": take, "raddr": self.read, "wen": put, "waddr": self.write, "wdata": self.p["put_data"]}
        memory = self.b.instance(bank, "words", access)
        return {
            "put_ready": self.room,
            "put_last": self.last,
            "whole": self.whole,
            "take_valid": self.held,
            "take_data": memory["rdata"],
            "take_last": self.b.register(at_end, "last", take),
        }

    def _put_side(self) -> tuple[Value, Value]:
        """Where words are put; i1: one is put; i1: it makes the packet whole."""
        b, p = self.b, self.p
        put = p["put_valid"] & self.room
        starts_over = b.any_of(p["rewind"], p["ends"], self.last)  # where it moves
        commit = b.all_of(put, p["ends"], self.last)
        moving = p["rewind"] | put
        self.write.assign(b.mux(starts_over, self.first, self.write.incremented(self.words)), moving)
        nearly = self.write.eq(self.second_last)
        self.last.assign(b.mux(starts_over, int(self.words == 1), nearly), moving)
        return put, commit

    def _take_side(self, commit: Value) -> tuple[Value, Value]:
        """Where words are taken, and whether there is room for more; i1: one is taken; i1: it is the last one."""
        b, p, bits = self.b, self.p, self.read.width
        after = self.write.zero_extend(bits + 1) + 1
        ahead = after.ult(self.read.zero_extend(bits + 1))
        take = b.all_of(self.whole, p["leave"], ~self.held | p["take_ready"])
        at_end = self.read.eq(self.words - 1)
        empty = p["drop"] | (take & at_end)
        self.room.assign(~commit & b.any_of(~self.whole, empty, ahead))
        self.whole.assign(commit | (self.whole & ~empty))
        over = p["drop"] | at_end
        self.read.assign(b.mux(over, 0, self.read + 1), p["drop"] | take)
        self.held.assign(take | (self.held & ~p["take_ready"]))
        return take, at_end
