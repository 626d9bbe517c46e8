"""Files beside the RTL in the output folder: projects for synthesis tools, an IP component, headers, a document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gradcam.package.fusesoc import core_file
from gradcam.package.ipxact import component
from gradcam.package.software import packet_header, register_document, register_header
from gradcam.package.vivado import constraints, script
from gradcam.schema.program import Program

#: The files, each with the function that makes its text from program.json.
TEXTS: dict[str, Callable[[Program], str]] = {
    "gradcam_core.core": core_file,
    "gradcam_core.xdc": constraints,
    "vivado.tcl": script,
    "component.xml": component,
    "gradcam_core.h": register_header,
    "gradcam_packets.h": packet_header,
    "registers.md": register_document,
}


def write_package(folder: Path, program: Program) -> None:
    """Writes the files of `TEXTS`.

    Args:
        folder: the output folder of a compile.
        program: the contents of its program.json, with the checksums of all files.
    """
    for name, text in TEXTS.items():
        (folder / name).write_text(text(program), encoding="utf-8")
