"""gradcam_core.core: the design as a core of FuseSoC (CAPI2)."""

from __future__ import annotations

from typing import Any

import yaml

from gradcam.package.sources import LIBRARY, VENDOR, memory_files, rtl_files, version
from gradcam.schema.program import Program

#: The default part of the target `synth`.
PART = "xczu7ev-ffvc1156-2-e"


def core_file(program: Program) -> str:
    """The text of the file, with the targets `default`, `lint` (Verilator) and `synth` (Vivado, synthesis alone).

    The memory images keep their paths, since the RTL reads them by `$readmemh("mem/...")`.
    """
    top = program.core.top
    sources = ["rtl", "mem"]
    target = {"filesets": sources, "toplevel": top}
    # The name of the interrupt port is a word of C++, which only a model in C++ would mind.
    lint = {"tool": "verilator", "verilator_options": ["-Wno-SYMRSVDWORD"]}
    core = {
        "name": f"{VENDOR}:{LIBRARY}:{top}:{version(program)}.0",
        "description": "A compiled classifier and its explanation behind AXI4-Lite and AXI4-Stream",
        "filesets": {
            "rtl": {"files": rtl_files(program), "file_type": "systemVerilogSource"},
            "mem": {"files": [{name: {"copyto": name}} for name in memory_files(program)], "file_type": "user"},
            "constraints": {"files": [f"{top}.xdc"], "file_type": "xdc"},
        },
        "targets": {
            "default": dict(target),
            "lint": target | {"flow": "lint", "flow_options": lint},
            "synth": target
            | {
                "filesets": [*sources, "constraints"],
                "flow": "vivado",
                "flow_options": {"part": PART, "pnr": "none"},
            },
        },
    }
    return "CAPI=2:\n" + yaml.dump(core, Dumper=_Plain, sort_keys=False, width=120)


class _Plain(yaml.SafeDumper):
    """A YAML dumper that repeats equal lists instead of writing anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
