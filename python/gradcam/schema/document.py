"""Reads a JSON file into a structure, with errors that name the place in the file; writes it whole or not at all."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec

from gradcam.errors import GradcamError
from gradcam.files import write_output
from gradcam.schema.explain import explain, short

#: An integer of at least 1, and one of at least 0.
Count = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]

#: A real number of at least 0, one up to 1, and a coefficient of a correlation.
Amount = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Correlation = Annotated[float, msgspec.Meta(ge=-1, le=1)]

#: A name that is an identifier in RTL and C++.
Identifier = Annotated[
    str, msgspec.Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]*\Z", description="a name of letters, digits and underscores")
]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An object in a file: it has every member that has no default here, and no others."""


class Document(Record, frozen=True):
    """The contents of a whole file; each kind has a member `format`, whose default is the number of its format."""

    #: The advice for a faulty file, which ends the message; "" for none.
    REMEDY: ClassVar[str] = "compile again"
    #: The text before the file's name in a message.
    NOUN: ClassVar[str] = ""
    #: Whether a person may write such a file, without the number of its format.
    BY_HAND: ClassVar[bool] = False

    @classmethod
    def arranged(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The members as this class has them; for a kind of file that has them in more than one form."""
        return data


D = TypeVar("D", bound=Document)


class _Fault(Exception):
    """The fault of a file and its place, as the rest of a sentence that begins with the file's name."""


def read(path: Path | str, kind: type[D]) -> D:
    """Reads a file.

    Raises:
        GradcamError: it cannot be read, is not JSON or of another format, or a member has a wrong type, is missing or
            is unknown. The message has the member's path in the file, such as `$.nests[3].cycles`.
    """
    try:
        return _converted(_parsed(Path(path).read_bytes()), kind)
    except OSError as error:
        raise GradcamError(f"cannot read {kind.NOUN}{path}: {error.strerror}") from error
    except _Fault as fault:
        end = f"{' ' if str(fault).endswith('?') else '; '}{kind.REMEDY}" if kind.REMEDY else ""
        raise GradcamError(f"{kind.NOUN}{path}{fault}{end}") from None


def write(path: Path, document: Document) -> None:
    """Writes a file, whole or not at all.

    Raises:
        GradcamError: it cannot be written.
    """
    text = json.dumps(msgspec.to_builtins(document), indent=1, allow_nan=False)
    write_output(str(path), [text.encode() + b"\n"])


def _parsed(data: bytes) -> Any:
    """The JSON of a file."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_no_number, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError:
        raise _Fault(" is not valid JSON: a text has one half of a surrogate pair") from None
    except UnicodeDecodeError:
        raise _Fault(" is not text in UTF-8") from None
    except json.JSONDecodeError as error:
        raise _Fault(f" is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueError as error:  # an integer of thousands of digits
        raise _Fault(f" is not valid JSON: {str(error).partition(';')[0]}") from None
    except RecursionError:
        raise _Fault(" is not valid JSON: it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; refuses an object with the same name twice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Fault(f": the name {json.dumps(twice)} stands twice in one object")
    return members


def _no_number(text: str) -> Any:
    raise _Fault(f": {text} is no number")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise _Fault(f": the number {text[:20]} is too large")
    return value


def _converted(data: Any, kind: type[D]) -> D:
    if isinstance(data, dict):
        _check_format(data, kind)
        data = kind.arranged(data)
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise _Fault(f": {explain(str(error), data, kind)}") from None


def _check_format(data: dict[str, Any], kind: type[Document]) -> None:
    """Checks the format before everything else: a file of another format differs in more than the number."""
    expected = next(f.default for f in msgspec.structs.fields(kind) if f.name == "format")
    if "format" not in data and not kind.BY_HAND:
        raise _Fault(": $.format is missing; an earlier version wrote the file")
    found = data.get("format", expected)
    if found != expected or not isinstance(found, int) or isinstance(found, bool):
        raise _Fault(f": $.format must be {expected}, the one that this version reads, got {short(found)}")
