"""A figure at the top of a page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure at the top of a page.

    Attributes:
        label: what it is.
        value: how much.
        note: what helps to judge it; "" for nothing.
    """

    label: str
    value: str
    note: str = ""
