"""Rewrites msgspec's errors in plain words, with the names of a map's entries in the path.

msgspec ends its messages with a path in which the entries of a map have no names: "Expected `int`, got `str` - at
`$.banks[...].lanes`". A file may have hundreds of entries, so their names are looked up.
"""

from __future__ import annotations

import json
import re
import types
import typing
from typing import Annotated, Any, Literal

import msgspec

from gradcam.errors import did_you_mean

#: The end of a message of msgspec: the place of a value, or of a name in an object. A fault of the whole has none.
_PLACE = re.compile(r" - at (?P<name>`key` in )?`(?P<path>\$[\w.\[\]]*)`\Z")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)

_WORDS = {int: "an integer", float: "a number", str: "a text", bool: "true or false", types.NoneType: "null"}

#: `X | Y` is of the second kind where X is annotated.
_UNIONS = (types.UnionType, typing.Union)


def explain(message: str, data: Any, kind: Any) -> str:
    """Describes the fault of data that does not have a type.

    Args:
        message: the message of msgspec.
        data: the contents of a file.
        kind: the type that they should have.

    Returns:
        A part of a sentence that begins with the path of the member in question, such as
        `$.nests[3].cycles must be an integer, got "5"`.
    """
    place = _PLACE.search(message)
    if (unknown := _UNKNOWN.fullmatch(message)) and isinstance(data, dict) and unknown[1] in data:
        place = None  # whatever the name of the member looks like
    path, value, kind = _follow(place["path"], data, kind) if place else ("$", data, kind)
    what = message[: place.start()] if place else message
    if place and place["name"]:
        allowed = typing.get_args(_plain(kind))[0]
        name = next(name for name in value if not _is(name, allowed))
        return f"{path} has the name {short(name)}, which must be {_words(allowed)}"
    if missing := _MISSING.fullmatch(what):
        return f"{path}{_step(missing[1])} is missing"
    if unknown := _UNKNOWN.fullmatch(what):
        known = [field.name for field in msgspec.structs.fields(_plain(kind))]
        near = did_you_mean(unknown[1], known) or f"; an object here has {', '.join(known)}"
        return f"{path}{_step(unknown[1])} is unknown{near}"
    return f"{path} must be {_words(kind)}, got {short(value)}"


def short(value: Any) -> str:
    """The beginning of a value as JSON."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _follow(path: str, value: Any, kind: Any) -> tuple[str, Any, Any]:
    """Walks along msgspec's path: the path with names, the value there, and the type that it should have."""
    said = "$"
    for member, index in re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", path):
        kind = _plain(kind, value)
        inner = typing.get_args(kind)
        step: str | int
        if member:
            step, kind = member, typing.get_type_hints(kind, include_extras=True)[member]
        elif index == "...":
            kind = inner[1]
            step = next(name for name, entry in value.items() if not _is(entry, kind))
        else:
            step = int(index)
            kind = inner[0 if inner[-1] is Ellipsis else step]
        value, said = value[step], said + _step(step)
    return said, value, kind


def _plain(kind: Any, value: Any = None) -> Any:
    """A type without its constraints and without null; of several types the one of lists where the value is a list."""
    if typing.get_origin(kind) is Annotated:
        return _plain(typing.get_args(kind)[0], value)
    if typing.get_origin(kind) in _UNIONS:
        kinds = [_plain(k, value) for k in typing.get_args(kind) if k is not types.NoneType]
        return next((k for k in kinds if (typing.get_origin(k) is tuple) == isinstance(value, list)), kinds[0])
    return kind


def _is(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _step(step: str | int) -> str:
    if isinstance(step, str) and step.isidentifier():
        return f".{step}"
    return f"[{json.dumps(step)}]"


def _words(kind: Any) -> str:
    """A type in words."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        metas = [meta for meta in inner[1:] if isinstance(meta, msgspec.Meta)]
        said = next((m.description for m in metas if m.description), _words(inner[0]))
        return said + "".join(f" of at least {m.ge}" for m in metas if m.ge is not None)
    if origin in _UNIONS:
        return " or ".join(sorted(map(_words, inner), key=lambda words: words != "null"))
    if origin is Literal:
        return " or ".join(json.dumps(value) for value in inner)
    if origin is tuple:
        return "a list, [...]" if inner[-1] is Ellipsis else f"a list of {len(inner)}"
    return _WORDS.get(kind, "an object, {...}")
