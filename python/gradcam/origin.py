"""Where a design comes from, for the first lines of its RTL: the project's version, the model, the options."""

from __future__ import annotations

import importlib.metadata
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from gradcam.checks import option

if TYPE_CHECKING:
    from gradcam.compiler import Settings

#: Settings that are left out: what is done to images, which program.json says, and a file of choices of the schedule.
#: The fingerprint tells what came of them.
_OUTSIDE = {"calibration", "validate", "mean", "std", "preset", "resize", "crop", "background", "schedule"}

#: Characters of a line.
_WIDTH = 120


def origin(model: str, fingerprint: int, settings: Settings) -> str:
    """The lines of comment in front of every module of a design, which depend on nothing but the arguments.

    Args:
        model: the model's name in the report.
        fingerprint: of the design, as in the register DESIGN.
        settings: of the compile; those at their default are left out.
    """
    version, options = importlib.metadata.version("gradcam-mlir"), " ".join(_options(settings))
    lines = list[str]()
    for fact in (f"gradcam-mlir {version}, DESIGN 0x{fingerprint:08x}, model {model}", f"Options: {options}"):
        # Names are the user's: the end of a line would end the comment, and some tools read ASCII alone.
        plain = "".join(c if c.isprintable() else " " for c in fact).encode("ascii", "backslashreplace").decode()
        lines += textwrap.wrap(plain, _WIDTH, initial_indent="// ", subsequent_indent="//   ", break_on_hyphens=False)
    return "".join(f"{line}\n" for line in lines)


def _options(settings: Settings) -> Iterator[str]:
    """The settings that are not at their default, as options of gradcam-compile."""
    if not settings.target_layer:
        yield "--no-explanation"
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name in _OUTSIDE or value is None or value == field.default:
            continue
        values = value if field.name == "target_layer" and not isinstance(value, str) else [value]
        for one in values:
            yield option(field.name) if one is True else f"{option(field.name)} {_text(one)}"


def _text(value: Any) -> str:
    """The value of an option; of several numbers with commas."""
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
