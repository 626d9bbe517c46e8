"""Multipliers and cascades as instances of DSP slices, where Yosys does not use their registers by itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Any

from gradcam.names import prefixed
from gradcam.passes.hw.dot import Dot
from gradcam.passes.hw.dsp import multiplier_bits


def split_instances(
    files: Iterable[str],
    templates: Mapping[str, str],
    slice_: Mapping[str, Any],
    design: str | None = None,
    fabric: Collection[str] = (),
) -> tuple[list[str], str]:
    """Separates the modules that have a template from the RTL files, and makes Verilog with instances of them.

    Args:
        files: RTL by paths, a file per module.
        templates: by kind of module, a file of this package: a module with the ports and the cycles of
            `gradcam.passes.hw.dsp.multiplier_of` ("multiplier", and "fabric" without a slice) or of
            `gradcam.passes.hw.dot` ("dot", "dots", "either").
        slice_: what the templates say of the slice of the family, see `Family`. A multiplier with more bits than it has
            is kept: the tool makes it of several slices.
        design: the name of the design, with which its modules begin; None where it has none.
        fabric: the multipliers, by their modules, that are not to take slices.
    """
    kept, mapped = [], []
    for file in files:
        module = Path(file).stem
        kind, shape = _shape(module.removeprefix(prefixed(design, "")))
        kind = "fabric" if module in fabric else kind
        if kind in templates and (kind != "multiplier" or _fits(shape, slice_)):
            text = (Path(__file__).parent / templates[kind]).read_text(encoding="utf-8")
            mapped.append(Template(text).substitute({**slice_, **shape, "name": module}))
        else:
            kept.append(file)
    return kept, "\n".join(mapped)


def multipliers_in_fabric(slices: Mapping[str, float], limit: float, design: str | None = None) -> list[str]:
    """Multipliers that are made of LUTs, so that a part has slices for all others; those of the fewest bits.

    Args:
        slices: of every module, how many slices all of its instances take.
        limit: how many slices the part has.
        design: the name of the design, with which its modules begin; None where it has none.

    Returns:
        Names of modules; none where all slices are there, and where multipliers are too few to help.
    """
    prefix = prefixed(design, "")
    sizes = {name: multiplier_bits(name.removeprefix(prefix)) for name, taken in slices.items() if taken}
    costs = {name: slices[name] * bits[0] * bits[1] for name, bits in sizes.items() if bits}
    over, found = sum(slices.values()) - limit, list[str]()
    for name in sorted(costs, key=lambda n: costs[n]):
        if over > 0:
            found.append(name)
            over -= slices[name]
    for name in reversed(found[:-1]):
        if over + slices[name] <= 0:
            found.remove(name)
            over += slices[name]
    return found if over <= 0 else []


def _fits(shape: Mapping[str, Any], slice_: Mapping[str, Any]) -> bool:
    """Whether a slice takes both factors of a multiplier."""
    left, right = slice_["factors"]
    return shape["left"] <= left and shape["right"] <= right


def _shape(module: str) -> tuple[str, dict[str, Any]]:
    """The kind of a module by its name, and what its template says of it; "" for those that have none."""
    if bits := multiplier_bits(module):
        return "multiplier", {"left": bits[0], "right": bits[1]}
    if dot := Dot.named(module):
        return dot.kind, dot._asdict()
    return "", {}
