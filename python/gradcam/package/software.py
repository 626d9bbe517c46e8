"""The interface for software: C headers of registers and packets, a document of the registers."""

from __future__ import annotations

from collections.abc import Sequence

from peakrdl_cheader.exporter import CHeaderExporter
from peakrdl_markdown import MarkdownExporter

from gradcam.core.register_map import address_map
from gradcam.names import prefixed
from gradcam.package.text import exported
from gradcam.schema.program import Program


def register_header(program: Program) -> str:
    """The text of gradcam_core.h: a struct of the registers, masks and positions of the fields."""
    core = program.core.top
    return exported(f"{core}.h", lambda path: CHeaderExporter().export(address_map(core), str(path)))


def register_document(program: Program | None = None) -> str:
    """The text of registers.md, which is the same for every design."""
    del program
    text = exported("registers.md", lambda path: MarkdownExporter().export(address_map(), str(path)))
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip() + "\n"


def packet_header(program: Program) -> str:
    """The text of gradcam_packets.h: sizes of the packets of this design, and the scales of their contents."""
    core, (image,), macros = program.core, program.inputs, prefixed(program.name, "gradcam_").upper()
    height, width, channels = image.shape
    mean, std = program.preprocessing.of_pixels
    lines = [
        f"{macros}FINGERPRINT 0x{core.fingerprint:08x}u // of the register DESIGN",
        f"{macros}IMAGE_HEIGHT {height}",
        f"{macros}IMAGE_WIDTH {width}",
        f"{macros}IMAGE_CHANNELS {channels}",
        f"{macros}IMAGE_BEATS {image.beats}",
        f"{macros}IMAGE_BEAT_BYTES {core.image_bytes}",
        f"{macros}IMAGE_SCALE {image.scale!r} // real value of 1",
        f"{macros}IMAGE_MEAN {_numbers(mean)} // by channel, of pixels from 0 to 1",
        f"{macros}IMAGE_STD {_numbers(std)} // a real value is (pixel - mean) / std",
        f"{macros}RESULT_WORDS {program.packet_words} // int32_t",
    ]
    scales, place = {s.name: s.scale for s in program.outputs}, 0
    for field, words in program.fields.items():
        name = f"{macros}{field.upper()}"
        lines += [f"{name}_WORD {place}", f"{name}_WORDS {words}"]
        if scales.get(field) is not None:
            lines.append(f"{name}_SCALE {scales[field]!r}")
        place += words
    body = "".join(f"#define {line}\n" for line in lines)
    guard = f"{macros}PACKETS_H"
    about = f"// Packets of {core.top}; NAME_WORD is the number of the first word of a field of the result."
    return f"{about}\n\n#ifndef {guard}\n#define {guard}\n\n{body}\n#endif\n"


def _numbers(values: Sequence[float]) -> str:
    """The initializer of an array."""
    return f"{{{', '.join(map(repr, values))}}}"
