"""Checks of the settings of a compile: types, input shapes, and settings without an effect; names for messages."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from gradcam.errors import GradcamError

#: The most numbers of an image. An f32 image of this size takes 256 MB, and a feature map easily many times as much.
MOST_NUMBERS = 1 << 26

#: Types of settings, as their annotations have them, with the words for them.
_KINDS: Mapping[str, tuple[type, str]] = {
    "str": (str, "a text"),
    "bool": (bool, "True or False"),
    "int": (numbers.Integral, "an integer"),
    "float": (numbers.Real, "a number"),
    "Path": (Path, "a path"),
    "None": (type(None), "None"),
}

#: Options of gradcam-compile that are not called like their setting.
_OPTIONS = {"range_choice": "--range"}


def option(setting: str) -> str:
    """The option of gradcam-compile for a setting."""
    return _OPTIONS.get(setting, "--" + setting.replace("_", "-"))


def named(setting: str) -> str:
    """A setting by its names in Python and on the command line."""
    return f"{setting} ({option(setting)})"


def check_types(settings: Any, named: Callable[[str], str] = named) -> None:
    """Refuses a value of another type than its setting is annotated with, where that is one of `_KINDS` or several.

    Args:
        settings: a dataclass.
        named: a field as messages name it.

    Raises:
        GradcamError: there is one.
    """
    for field in fields(settings):
        if all(kind in _KINDS for kind in str(field.type).split(" | ")):
            check_type(named(field.name), getattr(settings, field.name), str(field.type))


def check_type(what: str, value: Any, annotation: str) -> None:
    """Refuses a value of another type than the annotation's, which is one of `_KINDS` or several: "str | None".

    Raises:
        GradcamError: the value, which the message calls `what`, is of another type.
    """
    kinds = annotation.split(" | ")
    if not any(_is(value, kind) for kind in kinds):
        words = " or ".join(_KINDS[kind][1] for kind in kinds)
        raise GradcamError(f"{what} must be {words}, got {value!r}")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool) and kind != "bool":
        return False
    return isinstance(value, _KINDS[kind][0])


def check_used(settings: Any, needs: Mapping[str, tuple[bool, str]]) -> None:
    """Refuses a setting that would have no effect.

    Args:
        settings: of a compile.
        needs: by setting, whether what it is for is asked for, and what to do where it is not.

    Raises:
        GradcamError: there is one.
    """
    defaults = {field.name: field.default for field in fields(settings)}
    for name, (is_used, remedy) in needs.items():
        if getattr(settings, name) != defaults[name] and not is_used:
            raise GradcamError(f"{named(name)} has no effect: {remedy}")


def check_layers(layers: Any) -> None:
    """Refuses target layers that are no text, list of texts, or None, and lists and texts without any.

    Raises:
        GradcamError: they are something else.
    """
    several = isinstance(layers, Sequence) and all(isinstance(layer, str) for layer in layers)
    if not (layers is None or several):
        raise GradcamError(f"{named('target_layer')} must be a module path or a list of some, got {layers!r}")
    if layers is not None and not (layers and all([layers] if isinstance(layers, str) else layers)):
        raise GradcamError(f"{named('target_layer')} names no layer in {layers!r}; for logits only it is None")


def checked_shape(shape: Any) -> tuple[int, ...]:
    """An input shape as a tuple.

    Raises:
        GradcamError: it is not 1,C,H,W, or too large to be meant.
    """
    if not isinstance(shape, Sequence) or isinstance(shape, str | bytes):
        raise GradcamError(f"the input shape must be a tuple such as (1, 3, 64, 64), got {shape!r}")
    text = ",".join(map(str, shape))
    if len(shape) != 4 or not all(_is(n, "int") and n >= 1 for n in shape):
        raise GradcamError(f"the input shape must be 1,C,H,W, got {text}")
    if shape[0] != 1:
        raise GradcamError(f"the input shape {text} has batch size {shape[0]}; it must be 1")
    if math.prod(shape) > MOST_NUMBERS:
        raise GradcamError(f"the input shape {text} has {math.prod(shape):,} numbers; the most are {MOST_NUMBERS:,}")
    return tuple(map(int, shape))
