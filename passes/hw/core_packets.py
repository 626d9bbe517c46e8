"""The packets of a core: images that come in, one image ahead, and results that leave when they are whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.value import Value, bits_for
from gradcam.passes.program.packets import WORD


@dataclass(frozen=True)
class Beat:
    """A beat that AXI4-Stream offers: whether it is there, its data, and whether it is the last one of a packet."""

    valid: Value
    data: Value
    last: Value


@dataclass(frozen=True)
class Image:
    """The image that waits or is run.

    Attributes:
        valid, data: the next pixel of the image that is run.
        waiting: i1: a whole image waits for a run.
        ready: i1: the next beat may come.
        number: how many packets ended before the one that waits.
        errors: i1 of the errors of packets, by their fields.
    """

    valid: Value
    data: Value
    waiting: Value
    ready: Value
    number: Value
    errors: dict[str, Value]


def receive_images(b: Builder, beat: Beat, bits: int, buffer: Any, go: Value, drop: Value, taken: Value) -> Image:
    """Takes image packets in.

    Args:
        b: of the core.
        beat: offered by the source.
        bits: of a pixel, the low ones of a beat.
        buffer: the module of the frame buffer.
        go: i1, the image that waits is run.
        drop: i1, it is not.
        taken: i1, the top takes a pixel.
    """
    skipping = b.state(1, "skipping", reset=0)  # the rest of a packet that is too long
    leaving = b.state(1, "leaving", reset=0)
    offered = beat.valid & ~skipping
    inputs = {"put_valid": offered, "put_data": beat.data[:bits], "ends": beat.last, "rewind": b.const(0, 1)}
    inputs |= {"leave": leaving, "drop": drop, "take_ready": taken}
    image = b.instance(buffer, "image_buffer", inputs)
    put = offered & image["put_ready"]
    whole = b.all_of(put, image["put_last"], beat.last)
    short = b.all_of(put, ~image["put_last"], beat.last)
    long = b.all_of(put, image["put_last"], ~beat.last)
    leaving.assign(go | (leaving & image["whole"]))
    ready = skipping | image["put_ready"]
    ends = b.all_of(beat.valid, ready, beat.last)
    skipping.assign(long | (skipping & ~ends))
    # A packet is counted a cycle late, which is before its run can start.
    packets = b.state(WORD, "packets", reset=0)
    packets.assign(packets + 1, b.register(ends, "packet_ended", reset=0))
    waiting = image["whole"] & ~leaving
    number = b.register(packets, "waiting_number", b.register(whole, "packet_whole", reset=0))
    errors = {"error_short_packet": short, "error_long_packet": long}
    return Image(image["take_valid"], image["take_data"], waiting, ready, number, errors)


@dataclass(frozen=True)
class Result:
    """The result that is collected, or leaves.

    Attributes:
        beat: the next one of the result that leaves.
        whole: i1: a whole result is there.
        room: i1: another word may be collected.
        ended: i1: the run has ended, and with this cycle its result is whole.
    """

    beat: Beat
    whole: Value
    room: Value
    ended: Value


def send_results(
    b: Builder,
    buffer: Any,
    header: Sequence[Value],
    words: Sequence[tuple[Value, Value]],
    done: Value,
    failed: Value,
    taken: Value,
) -> Result:
    """Collects the result of a run and sends it.

    Args:
        b: of the core.
        buffer: the module of the frame buffer.
        header: the first words of the packet, which are put last.
        words: per stream of the top: i1, it gives a word; the word.
        done: i1, the run has ended.
        failed: i1, the run has ended with an error, and there is no result.
        taken: i1, the beat that leaves is taken.
    """
    closing = b.state(1, "closing", reset=0)  # the first words of the packet are put, as the last
    place = b.state(bits_for(len(header)), "header_place", reset=0)
    first = b.select(place, header)
    final = closing & place.eq(len(header) - 1)
    valids, data = zip(*words, strict=True)
    inputs = {"put_valid": b.any_of(closing, *valids), "put_data": b.mux(closing, first, b.priority_mux(valids, data))}
    inputs |= {"ends": final, "rewind": failed, "leave": b.const(1, 1), "drop": b.const(0, 1), "take_ready": taken}
    result = b.instance(buffer, "result_buffer", inputs)
    put = closing & result["put_ready"]
    ended = final & result["put_ready"]
    place.assign(b.mux(closing, place + 1, 0), put | ~closing)
    begins = done & ~failed
    closing.assign(begins | (closing & ~ended))
    beat = Beat(result["take_valid"], result["take_data"], result["take_last"])
    return Result(beat, result["whole"], result["put_ready"], ended)


def register_slice(b: Builder, valid: Value, data: Value, ready: Value) -> tuple[Value, Value, Value]:
    """A stream behind registers, a beat a cycle: valid and data of its output, and ready of its input.

    The beat that comes in when the output begins to wait is kept aside.
    """
    full = b.state(1, "slice_full", reset=0)
    aside = b.state(1, "slice_aside", reset=0)
    moves = ready | ~full
    kept = b.register(data, "slice_kept", ~aside)
    full.assign(aside | valid, moves)
    aside.assign((aside | valid) & ~moves)
    return full, b.register(b.mux(aside, kept, data), "slice_data", moves), ~aside
