"""What software is written against: C headers of registers and packets, a document of the registers."""

from __future__ import annotations

from typing import Any

from peakrdl_cheader.exporter import CHeaderExporter
from peakrdl_markdown import MarkdownExporter

from gradcam.core.register_map import address_map
from gradcam.package.text import exported


def register_header(program: dict[str, Any]) -> str:
    """The text of gradcam_core.h: a struct of the registers, masks and positions of the fields."""
    return exported(f"{program['core']['top']}.h", lambda path: CHeaderExporter().export(address_map(), str(path)))


def register_document(program: dict[str, Any] | None = None) -> str:
    """The text of registers.md, which is the same for every design."""
    del program
    text = exported("registers.md", lambda path: MarkdownExporter().export(address_map(), str(path)))
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip() + "\n"


def packet_header(program: dict[str, Any]) -> str:
    """The text of gradcam_packets.h: sizes of the packets of this design and scales of what they hold."""
    core, scales = program["core"], program["quantization"]
    image, result = core["image"], core["result"]
    height, width, channels = program["streams"][0]["shape"]
    lines = [
        f"GRADCAM_FINGERPRINT 0x{core['fingerprint']:08x}u // of the register DESIGN",
        f"GRADCAM_IMAGE_HEIGHT {height}",
        f"GRADCAM_IMAGE_WIDTH {width}",
        f"GRADCAM_IMAGE_CHANNELS {channels}",
        f"GRADCAM_IMAGE_BEATS {image['beats']}",
        f"GRADCAM_IMAGE_BEAT_BYTES {image['bytes']}",
        f"GRADCAM_IMAGE_SCALE {scales['image']['scale']!r} // real value of 1",
        f"GRADCAM_RESULT_WORDS {result['beats']} // int32_t",
    ]
    place = 0
    for field in core["fields"]:
        name = f"GRADCAM_{field['name'].upper()}"
        lines += [f"{name}_WORD {place}", f"{name}_WORDS {field['words']}"]
        if field["name"] in scales:
            lines.append(f"{name}_SCALE {scales[field['name']]['scale']!r}")
        place += field["words"]
    body = "".join(f"#define {line}\n" for line in lines)
    guard = "GRADCAM_PACKETS_H"
    about = f"// Packets of {core['top']}; NAME_WORD is the number of the first word of a field of the result."
    return f"{about}\n\n#ifndef {guard}\n#define {guard}\n\n{body}\n#endif\n"
