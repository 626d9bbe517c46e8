"""Small random changes of bytes, text and JSON, for `malformed_inputs.py`."""

from __future__ import annotations

import json
import random
import re
from typing import Any


def texts(joined: str) -> list[str]:
    """Texts that stand between bars."""
    return joined.split("|")


#: Texts that no option for a number takes.
NO_NUMBER = "| |x|1.5.2|nan|inf|-inf|1e999|--|0x10|-1|[]|1 2|None"

#: What a token or a member may become.
TOKENS = texts('|-1|0|1|7|99999999999999999999|nan|1e400|""|"x"|%x|@x|{|}|(|)|x|\u00e9|<|>|[|]|,|None|i8|f64|!x.y|#a')
TOKENS += ["tensor<1xf32>", "0x7FC00000", "loc(unknown)"]
VALUES: list[Any] = [None, -1, 0, 1, 3, 2**31, 2**63, 2**80, 0.5, -0.0, 1e308, [], {}, True, [[]]]
VALUES += ["", "x", "../x", "\u00e9", "0" * 300]


def mutated_bytes(rng: random.Random, data: bytes, head: int = 0) -> tuple[bytes, str]:
    """Changes bytes, half of the times among the first `head`; returns what changed, too."""
    limit = head if head and rng.random() < 0.5 else len(data)
    at = rng.randrange(max(1, min(limit, len(data))))
    size = rng.choice([1, 1, 2, 4, 16, 100])
    changes = {
        "bit flipped": data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :],
        "byte set": data[:at] + bytes([rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])]) + data[at + 1 :],
        f"{size} removed": data[:at] + data[at + size :],
        f"{size} added": data[:at] + rng.randbytes(size) + data[at:],
        f"{size} zero": data[:at] + bytes(size) + data[at + size :],
        f"{size} twice": data[:at] + data[at : at + size] + data[at:],
        "cut": data[:at],
        "nothing": b"",
        "some at the end": data + rng.randbytes(size),
    }
    change = rng.choices(list(changes), [4, 4, 2, 2, 2, 2, 3, 0.3, 1])[0]
    return changes[change], f"{change} at {at}"


def mutated_text(rng: random.Random, data: bytes, printable: bool = False) -> tuple[bytes, str]:
    """Changes a token of a text, or now and then its bytes; `printable` keeps it one argument of a command."""
    if not printable and rng.random() < 0.1:
        return mutated_bytes(rng, data)
    tokens = re.findall(r"\w+|\s+|.", data.decode(), re.DOTALL)
    solid = [index for index, token in enumerate(tokens) if not token.isspace()]
    at, other = rng.choice(solid), rng.choice(solid)
    old, new = tokens[at], rng.choice(TOKENS) if rng.random() < 0.5 else tokens[other]
    how = rng.choice(["replaced", "replaced", "replaced", "added", "removed", "swapped"])
    if how == "replaced":
        tokens[at] = new
    elif how == "added":
        tokens.insert(at, new + " ")
    elif how == "removed":
        del tokens[at]
    else:
        tokens[at], tokens[other] = tokens[other], tokens[at]
    return "".join(tokens).encode(), f"{old!r} {how}, {new!r}, token {at}"


def mutated_json(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """Changes a member of a JSON document, or now and then its text."""
    if rng.random() < 0.15:
        return mutated_text(rng, data)
    document = json.loads(data)
    place, path = document, "$"
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = rng.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.85:
            place, path = place[key], f"{path}.{key}"
            continue
        return _change(rng, document, place, key, f"{path}.{key}")
    return json.dumps(document).encode(), "nothing"


def _change(rng: random.Random, document: Any, place: Any, key: Any, path: str) -> tuple[bytes, str]:
    old = place[key]
    how = rng.choice(["value", "value", "near", "removed", "added", "renamed", "swapped"])
    if how == "near" and isinstance(old, int | float) and not isinstance(old, bool):
        place[key] = old + rng.choice([1, -1, 2, 64, -64])
    elif how == "removed":
        del place[key]
    elif how == "added":
        new = rng.choice(VALUES)
        place.insert(key, new) if isinstance(place, list) else place.update({f"{key}x": new})
    elif how == "renamed" and isinstance(place, dict):
        place[rng.choice(["", "x", str(key).upper(), f"{key} "])] = place.pop(key)
    elif how == "swapped":
        other = rng.choice(list(place) if isinstance(place, dict) else list(range(len(place))))
        place[key], place[other] = place[other], place[key]
    else:
        how, place[key] = "value", rng.choice(VALUES)
    now = place[key] if how in ("value", "near") else ""
    return json.dumps(document).encode(), f"{path} {how} {str(now)[:40]!r}"
