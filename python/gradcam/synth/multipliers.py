"""A design's multipliers as DSP slices whose registers Yosys does not use by itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from string import Template

from gradcam.passes.hw.dsp import multiplier_bits


def split_multipliers(files: Iterable[str], template: str | None) -> tuple[list[str], str]:
    """Separates the multipliers from the RTL files, and makes Verilog of them for a family that has a template.

    Args:
        files: RTL by paths, a file per module.
        template: a file of this package: the module for factors of `left` and `right` bits, its ports and its cycles
            those of `gradcam.passes.hw.dsp.multiplier_of`.
    """
    if template is None:
        return list(files), ""
    text = Template((Path(__file__).parent / template).read_text(encoding="utf-8"))
    kept, mapped = [], []
    for file in files:
        if bits := multiplier_bits(Path(file).stem):
            mapped.append(text.substitute(left=bits[0], right=bits[1]))
        else:
            kept.append(file)
    return kept, "\n".join(mapped)
