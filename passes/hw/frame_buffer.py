"""A frame buffer: a memory between two sides that keeps one whole packet, while the next one follows it in."""

from __future__ import annotations

from typing import Any

from gradcam.passes.hw.builder import Builder, Value, bits_for, module
from gradcam.passes.hw.memory import build_bank
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
    bits, before = bits_for(words), (first - 1) % words
    memory = Bank(f"{name}_memory", 1, width, words, constant=False)
    bank = build_bank(memory, 1, "a packet")
    inputs = [("put_valid", 1), ("put_data", width), ("ends", 1), ("rewind", 1), ("leave", 1), ("drop", 1)]
    inputs += [("take_ready", 1)]
    outputs = [("put_ready", 1), ("put_last", 1), ("whole", 1), ("take_valid", 1), ("take_data", width)]
    outputs += [("take_last", 1)]

    def build(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        one, end = b.const(1, bits), b.const(words - 1, bits)
        write, connect_write = b.state(bits, "write", reset=first)
        read, connect_read = b.state(bits, "read", reset=0)
        whole, connect_whole = b.state(1, "whole_q", reset=0)
        held, connect_held = b.state(1, "held", reset=0)  # the word that was read last is on its way out
        # Both are registers, for they hold back whoever puts: room may be seen a cycle late.
        room, connect_room = b.state(1, "room", reset=1)
        last, connect_last = b.state(1, "put_last_q", reset=int(first == before))
        put = b.all_of(p["put_valid"], room)
        starts_over = b.any_of(p["rewind"], p["ends"], last)  # where it moves
        commit = b.all_of(put, p["ends"], last)
        moving = b.any_of(p["rewind"], put)
        connect_write(b.mux(starts_over, b.const(first, bits), b.following(write, words)), moving)
        nearly = b.compare("eq", write, b.const((before - 1) % words, bits))
        connect_last(b.mux(starts_over, b.const(int(first == before), 1), nearly), moving)
        after = b.add(b.zero_extend(write, bits + 1), b.const(1, bits + 1))
        ahead = b.compare("ult", after, b.zero_extend(read, bits + 1))
        take = b.all_of(whole, p["leave"], b.any_of(b.negate(held), p["take_ready"]))
        at_end = b.compare("eq", read, end)
        empty = b.any_of(p["drop"], b.all_of(take, at_end))
        connect_room(b.all_of(b.negate(commit), b.any_of(b.negate(whole), empty, ahead)))
        connect_whole(b.any_of(commit, b.all_of(whole, b.negate(empty))))
        over = b.any_of(p["drop"], at_end)
        connect_read(b.mux(over, b.const(0, bits), b.add(read, one)), b.any_of(p["drop"], take))
        connect_held(b.any_of(take, b.all_of(held, b.negate(p["take_ready"]))))
        words_ = b.instance(
            bank, "words", {"ren": take, "raddr": read, "wen": put, "waddr": write, "wdata": p["put_data"]}
        )
        return {
            "put_ready": room,
            "put_last": last,
            "whole": whole,
            "take_valid": held,
            "take_data": words_["rdata"],
            "take_last": b.register(at_end, "last", take),
        }

    return module(name, inputs, outputs, build, comment=f"Frame buffer: one packet of {words} words")
