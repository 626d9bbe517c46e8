"""Registers of which there are several, beside readers that are far from each other."""

from __future__ import annotations

from typing import Any

from gradcam.passes.hw.builder import Builder
from gradcam.passes.hw.dsp import module_once
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.value import Value


def copied(b: Builder, value: Value, name: str) -> Value:
    """A register of `value` that synthesis tools merge with no other one of it.

    Its bits are modules, within which there is nothing equal.
    """
    bits = [b.instance(_copy(b), f"{name}_copy{i}", {"flag": value[i]})["copy"] for i in range(value.width)]
    return b.concat(bits[::-1])


def _copy(b: Builder) -> Any:
    """The module of a register of one bit."""

    def build(inside: Builder, p: dict[str, Value]) -> dict[str, Value]:
        return {"copy": inside.register(p["flag"], "flag_q")}

    return module_once(b, "flag_copy", [Signal("flag")], [Signal("copy")], build, "Register of a flag for some readers")
