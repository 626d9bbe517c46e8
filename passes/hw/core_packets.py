"""The packets of a core: images are buffered one ahead of the run, and results leave when they are complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.carries import counter
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.value import Value, bits_for
from gradcam.passes.program.packets import WORD


@dataclass(frozen=True)
class Beat:
    """A beat of an AXI4-Stream: TVALID, TDATA and TLAST."""

    valid: Value
    data: Value
    last: Value


@dataclass(frozen=True)
class Image:
    """The outputs of the receiver of images.

    Attributes:
        valid, data: the next pixel of the image that is run, as a valid/ready stream to the top.
        waiting: i1: a complete image waits for a run.
        ready: i1: the next beat is accepted (TREADY).
        number: the number of packets that had ended before the image that waits.
        errors: i1 per error of a packet, by the name of its register field.
    """

    valid: Value
    data: Value
    waiting: Value
    ready: Value
    number: Value
    errors: dict[str, Value]


def receive_images(
    b: Builder, beat: Beat, bits: int, buffer: Any, going: Value, drop: Value, taken: Value, pieces: int
) -> Image:
    """Builds the receiver of image packets.

    Args:
        b: the builder of the core.
        beat: the beat offered by the source.
        bits: bits of a pixel, which are the low bits of a beat.
        buffer: the module of the frame buffer.
        going: i1: a run of the waiting image begins in the next cycle.
        drop: i1: the waiting image is discarded.
        taken: i1: the top accepts a pixel.
        pieces: those of the counter of packets, see `counter`.
    """
    skipping = b.state(1, "skipping", reset=0)  # the rest of a packet that is too long is discarded
    leaving = b.state(1, "leaving", reset=0)
    skips = b.wire(Signal("skips"))  # the next value; that the buffer is not ready either saves its inputs a condition
    inputs = {"put_valid": beat.valid, "put_data": beat.data[:bits], "ends": beat.valid & beat.last}
    inputs |= {"rewind": b.const(0, 1), "pause": skips, "leave": leaving, "drop": drop, "take_ready": taken}
    image = b.instance(buffer, "image_buffer", inputs)
    put = beat.valid & image["put_ready"]
    whole = b.all_of(put, image["put_last"], beat.last)
    short = b.all_of(put, ~image["put_last"], beat.last)
    long = b.all_of(put, image["put_last"], ~beat.last)
    leaving.assign(going | (leaving & image["whole"]))
    ready = skipping | image["put_ready"]
    ends = b.all_of(beat.valid, ready, beat.last)
    skips.assign(long | (skipping & ~ends))
    skipping.assign(skips)
    # A packet is counted one cycle late, still before its run can start.
    packets = counter(b, WORD, "packets", b.register(ends, "packet_ended", reset=0), pieces)
    waiting = image["whole"] & ~leaving
    number = b.register(packets, "waiting_number", b.register(whole, "packet_whole", reset=0))
    errors = {"error_short_packet": short, "error_long_packet": long}
    return Image(image["take_valid"], image["take_data"], waiting, ready, number, errors)


@dataclass(frozen=True)
class Result:
    """The outputs of the sender of results.

    Attributes:
        beat: the next beat of the result that is sent.
        whole: i1: a complete result is in the buffer.
        room: i1: another word may be stored.
        ended: i1: the run has ended, and its result becomes complete in this cycle.
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
    """Builds the sender of results, which stores the result of a run and then sends it as a packet.

    Args:
        b: the builder of the core.
        buffer: the module of the frame buffer.
        header: the first words of the packet, which are stored last.
        words: per output stream of the top: i1, it has a word; the word.
        done: i1: the run has ended.
        failed: i1: the run has ended with an error, and its result is discarded.
        taken: i1: the beat that is sent is accepted (TREADY).
    """
    closing = b.state(1, "closing", reset=0)  # the header, the first words of the packet, is stored at the end
    place = b.state(bits_for(len(header)), "header_place", reset=0)
    at_end = b.state(1, "header_at_end", reset=int(len(header) == 1))
    first = b.select(place, header)
    final = closing & at_end
    valids, data = zip(*words, strict=True)
    inputs = {"put_valid": b.any_of(closing, *valids), "put_data": b.mux(closing, first, b.priority_mux(valids, data))}
    inputs |= {"ends": final, "rewind": failed, "pause": b.const(0, 1), "leave": b.const(1, 1), "drop": b.const(0, 1)}
    inputs |= {"take_ready": taken}
    result = b.instance(buffer, "result_buffer", inputs)
    put = closing & result["put_ready"]
    ended = final & result["put_ready"]
    place.assign(b.mux(closing, place + 1, 0), put | ~closing)
    at_end.assign(b.mux(closing, place.eq(len(header) - 2), int(len(header) == 1)), put | ~closing)
    begins = done & ~failed
    closing.assign(begins | (closing & ~ended))
    beat = Beat(result["take_valid"], result["take_data"], result["take_last"])
    return Result(beat, result["whole"], result["put_ready"], ended)


def register_slice(b: Builder, valid: Value, data: Value, ready: Value) -> tuple[Value, Value, Value]:
    """A register slice (skid buffer) in a valid/ready stream, with a throughput of one beat per cycle.

    A second register keeps the beat that arrives in the cycle in which back-pressure begins.

    Returns:
        Valid and data of its output, and ready of its input.
    """
    full = b.state(1, "slice_full", reset=0)
    room = b.state(1, "slice_room", reset=1)
    moves = ready | ~full
    kept = b.register(data, "slice_kept", room)
    full.assign(~room | valid, moves)
    room.assign((room & ~valid) | moves)
    return full, b.register(b.mux(room, data, kept), "slice_data", moves), room
