"""Templates of the pages: Jinja with every text escaped, figures as people write them, pictures and scripts inside."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gradcam.verdict import percent

HERE = Path(__file__).parent

#: The chart library: the file that `vl_convert.javascript_bundle()` gives, written where the package is built.
LIBRARY = "vega.js"


def rendered(template: str, **facts: Any) -> str:
    """A page as HTML.

    Args:
        template: the name of its template.
        facts: what the template shows.
    """
    return _environment().get_template(template).render(facts)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": count, "size": size, "percent": percent}
    environment.globals |= {"static": static, "LIBRARY": LIBRARY}
    return environment


def static(name: str) -> Markup:
    """A file of the page as it is: a style sheet or a script of this package."""
    return Markup((HERE / "static" / name).read_text(encoding="utf-8"))


def count(number: float) -> str:
    """A number with its thousands apart; of fractions one digit."""
    return f"{number:,.1f}".removesuffix(".0")


def size(number: int) -> str:
    """A number of bytes in the unit that suits it."""
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024 or unit == "MiB":
            return f"{number:,} bytes" if unit == "bytes" else f"{number:,.1f} {unit}"
        number /= 1024  # type: ignore[assignment] of a size in a larger unit
    raise AssertionError
