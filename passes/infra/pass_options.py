"""Conversion of a pass's options between text, `tile=4,4 method=hirescam fuse`, and typed dataclass fields."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable
from typing import Any, NamedTuple

from gradcam.errors import GradcamError, did_you_mean
from gradcam.passes.infra.pass_base import Pass

_BOOLS = {"": True, "1": True, "true": True, "0": False, "false": False}
_SCALARS = (int, float, bool, str)
_CLOSING = {"'": "'", '"': '"', "{": "}"}


class OptionError(GradcamError):
    """A faulty option: the fault, and its position in the options' text in characters."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class OptionText(NamedTuple):
    """One `name=value` as written; the value of a bare `name` is empty."""

    name: str
    value: str
    offset: int


def split_options(text: str) -> list[OptionText]:
    """Splits options at spaces outside quotes and braces, which are taken off the values.

    Raises:
        OptionError: a quote or brace is not closed.
    """
    options, position = [], 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        end = _end_of_option(text, position)
        name, _, value = text[position:end].partition("=")
        if value and _CLOSING.get(value[0]) == value[-1] and len(value) > 1:
            value = value[1:-1]
        options.append(OptionText(name, value, position))
        position = end
    return options


def _end_of_option(text: str, start: int) -> int:
    closing: list[str] = []
    for position in range(start, len(text)):
        char = text[position]
        if closing and char == closing[-1]:
            closing.pop()
        elif char in _CLOSING and not (closing and closing[-1] in "'\""):
            closing.append(_CLOSING[char])
        elif char.isspace() and not closing:
            return position
    if closing:
        raise OptionError(f"missing {closing[-1]}", start)
    return len(text)


def make_pass(cls: type[Pass], text: str) -> Pass:
    """Makes the pass `cls` with the options in `text`.

    Raises:
        GradcamError: the class has an option of a type that has no text.
        OptionError: an option is unknown, given twice, missing, or has a value of another type.
    """
    fields, hints = cls.options(), option_types(cls)
    values: dict[str, Any] = {}
    options = split_options(text)
    for option in options:
        if option.name not in fields:
            raise OptionError(
                f"pass '{cls.name}' has no option '{option.name}'"
                + (did_you_mean(option.name, fields) or _known(fields)),
                option.offset,
            )
        field = fields[option.name].name
        if field in values:
            raise OptionError(f"option '{option.name}' of pass '{cls.name}' is given twice", option.offset)
        try:
            values[field] = _convert(option.value, hints[field])
        except ValueError:
            raise OptionError(
                f"option '{option.name}' of pass '{cls.name}' takes {type_text(hints[field])}, got '{option.value}'",
                option.offset,
            ) from None
    offset = options[0].offset if options else 0
    missing = [name for name, field in fields.items() if _required(field) and field.name not in values]
    if missing:
        kind = type_text(hints[fields[missing[0]].name])
        raise OptionError(f"pass '{cls.name}' needs the option '{missing[0]}' ({kind})", offset)
    try:
        return cls(**values)
    except (GradcamError, TypeError, ValueError) as error:  # a check of the class
        raise OptionError(f"pass '{cls.name}': {error}", offset) from error


def option_types(cls: type[Pass]) -> dict[str, Any]:
    """The types of a pass's fields by name.

    Raises:
        GradcamError: one of them has no text in a pipeline, or is not defined.
    """
    try:
        hints = typing.get_type_hints(cls)
    except (NameError, TypeError) as error:
        raise GradcamError(f"pass '{cls.name}': the types of its options are not known: {error}") from error
    for name, field in cls.options().items():
        if not _has_text(hints[field.name]):
            kinds = "int, float, bool, str, a Literal, or a tuple such as tuple[int, ...]"
            raise GradcamError(f"pass '{cls.name}': the type of the option '{name}' must be {kinds}")
    return hints


def _has_text(hint: Any) -> bool:
    members = _alternatives(hint)
    hint = members[0]
    if len(members) > 1:
        return False
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[1:] == (...,) and typing.get_args(hint)[0] in _SCALARS
    return typing.get_origin(hint) is typing.Literal or hint in _SCALARS


def _required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _known(fields: Iterable[str]) -> str:
    return f"; it has {', '.join(fields) or 'none'}"


def _alternatives(hint: Any) -> list[Any]:
    """The members of a union without None; a list of one for any other type."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [member for member in typing.get_args(hint) if member is not type(None)]
    return [hint]


def _convert(value: str, hint: Any) -> Any:
    """Converts an option's text to the type `hint`; raises ValueError where it is none."""
    hint = _alternatives(hint)[0]
    if typing.get_origin(hint) is typing.Literal:
        choices = {str(choice): choice for choice in typing.get_args(hint)}
        if value not in choices:
            raise ValueError
        return choices[value]
    if typing.get_origin(hint) is tuple:
        element = typing.get_args(hint)[0]
        return tuple(_convert(part.strip(), element) for part in value.split(",") if part.strip())
    if hint is bool:
        if value.lower() not in _BOOLS:
            raise ValueError
        return _BOOLS[value.lower()]
    converted = hint(value)
    if hint is float and not math.isfinite(converted):
        raise ValueError
    return converted


def type_text(hint: Any) -> str:
    """A type in words: "an integer", "one of a, b", "integers separated by commas"."""
    hint = _alternatives(hint)[0]
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        return {int: "integers", float: "numbers"}.get(typing.get_args(hint)[0], "texts") + " separated by commas"
    return {int: "an integer", float: "a number", bool: "true or false", str: "a text"}[hint]


def value_text(value: Any) -> str:
    """An option's value as it is written in a pipeline."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(value_text, value))
    text = str(value)
    if not isinstance(value, str) or (text and not any(c.isspace() or c in "{}()'\"" for c in text)):
        return text
    quote = '"' if "'" in text else "'"
    return f"{quote}{text}{quote}"


def format_pass(pass_: Pass) -> str:
    """The pass as pipeline text with every option spelt out, also those left at their default; None is not written."""
    values = {name: getattr(pass_, field.name) for name, field in pass_.options().items()}
    options = " ".join(
        f"{name}={value_text(value)}" for name, value in values.items() if value is not None and value != ()
    )
    return f"{pass_.name}{{{options}}}" if options else pass_.name


def option_help(cls: type[Pass]) -> list[str]:
    """One line per option: spelling, type and default."""
    hints = option_types(cls)
    lines = []
    for name, field in cls.options().items():
        default = "required" if _required(field) else f"default {value_text(_default(field))}"
        lines.append(f"{name}: {type_text(hints[field.name])}, {default}")
    return lines


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
