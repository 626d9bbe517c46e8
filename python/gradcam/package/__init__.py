"""Files beside the RTL in the output folder: projects for synthesis tools, an IP component, headers, a document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gradcam.names import prefixed
from gradcam.package.fusesoc import core_file
from gradcam.package.ipxact import component
from gradcam.package.software import packet_header, register_document, register_header
from gradcam.package.vivado import constraints, script
from gradcam.schema.program import Program

#: The files of a design without a name, each with the function that makes its text from program.json.
TEXTS: dict[str, Callable[[Program], str]] = {
    "gradcam_core.core": core_file,
    "gradcam_core.xdc": constraints,
    "vivado.tcl": script,
    "component.xml": component,
    "gradcam_core.h": register_header,
    "gradcam_packets.h": packet_header,
    "registers.md": register_document,
}


def texts(design: str | None) -> dict[str, Callable[[Program], str]]:
    """The files of a design by what they are called: its name stands before those that are called after the core."""
    return {prefixed(design, name) if name.startswith("gradcam_") else name: text for name, text in TEXTS.items()}


def write_package(folder: Path, program: Program) -> None:
    """Writes the files of `texts`.

    Args:
        folder: the output folder of a compile.
        program: the contents of its program.json, with the checksums of all files.
    """
    for name, text in texts(program.name).items():
        (folder / name).write_text(text(program), encoding="utf-8")
