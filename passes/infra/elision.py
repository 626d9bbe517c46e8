"""Text of modules without their large constants, for people to read; it cannot be parsed back faithfully."""

from __future__ import annotations

import re
from typing import Any

#: Elements of the largest constant in text that is only for reading.
LARGE = 64

_ELIDED = "dense_resource<__elided__>"
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')


def elided_text(module: Any, limit: int | None, **options: Any) -> str:
    """A module's text with `dense_resource<__elided__>` for constants of more than `limit` elements; None elides none.

    A first line says so where there are such constants. `options` are those of the bindings' `get_asm`.
    """
    text = module.operation.get_asm(large_elements_limit=limit, **options)
    if limit is None or _ELIDED not in text:
        return text
    return f"// Constants of more than {limit} elements are left out: for reading, no tool takes this.\n{text}"


def find_elided(data: bytes) -> tuple[int, int] | None:
    """Line and column, from 1, of the first elided constant in a text; None when there is none.

    MLIR parses elided constants, and some of its passes take them for zeros or for equal to one another.
    """
    token, at = _ELIDED.encode(), -1
    while (at := data.find(token, at + 1)) >= 0:
        start = data.rfind(b"\n", 0, at) + 1
        if b"//" not in _STRING.sub(b"", data[start:at]):
            return data.count(b"\n", 0, at) + 1, at - start + 1
    return None
