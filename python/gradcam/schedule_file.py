"""The file of a schedule: what a compile chose, and what the next one is told to choose.

    {
     "stem": [1, 4],
     "ring": 144,
     "nests": {
      "conv1": {"loops": ["oc", "y/8", "x", "y%8", "ic", "ky", "kx"]}
     }
    }

`stem` are the kernel rows and columns that gradcam-unfold-stem puts side by side, `ring` the words of the ring of
weights from DRAM, `loops` all time loops of a nest, outermost first: `y/8` goes from tile to tile of 8 iterations,
`y%8` through a tile. What a file leaves out is chosen as without one. The other entries of a nest (`INFORMATION`) are
for reading.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradcam.errors import GradcamError, did_you_mean

#: What a compile writes beside the loops of a nest; a replay takes no notice of it.
INFORMATION = ("trips", "stationary", "cycles", "stall_cycles", "tile_bytes", "bytes_per_cycle")


@dataclass(frozen=True)
class Schedule:
    """What a file asks for.

    Attributes:
        stem: kernel rows and columns in the channels; None leaves it to gradcam-unfold-stem.
        ring: words; None leaves it to gradcam-size-ring.
        nests: the loops of nests by name, outermost first.
    """

    stem: tuple[int, int] | None = None
    ring: int | None = None
    nests: dict[str, list[str]] = field(default_factory=dict)


def read_schedule(path: str | Path) -> Schedule:
    """Reads a schedule; of no file (""), an empty one.

    Raises:
        GradcamError: the file cannot be read, or is no schedule.
    """
    if not str(path):
        return Schedule()
    try:
        return _schedule(json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_pairs))
    except OSError as error:
        raise GradcamError(f"cannot read the schedule {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise GradcamError(f"the schedule {path} is no text in UTF-8") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise GradcamError(f"the schedule {path} is no JSON: {error.msg} at {place}") from error
    except RecursionError as error:
        raise GradcamError(f"the schedule {path} is nested too deeply") from error
    except _Fault as fault:
        raise GradcamError(f"the schedule {path}: {fault}") from None


class _Fault(Exception):
    """What is wrong with a file."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, in which no name may stand twice."""
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise _Fault(f"'{name}' stands twice in one object")
    return dict(pairs)


def _schedule(data: Any) -> Schedule:
    entries = _object(data, "it", ("stem", "ring", "nests"))
    stem, ring = entries.get("stem"), entries.get("ring")
    if stem is not None and not (isinstance(stem, list) and len(stem) == 2 and all(map(_is_positive, stem))):
        raise _Fault(f"'stem' must be two positive integers, rows and columns of the kernel, got {_short(stem)}")
    if ring is not None and not _is_positive(ring):
        raise _Fault(f"'ring' must be a positive number of words, got {_short(ring)}")
    nests = {}
    for name, nest in _object(entries.get("nests", {}), "'nests'").items():
        loops = _object(nest, f"'{name}'", ("loops", *INFORMATION)).get("loops")
        if not isinstance(loops, list) or not all(isinstance(n, str) for n in loops):
            raise _Fault(f"'loops' of '{name}' must be a list of texts such as \"y\" or \"y/4\", got {_short(loops)}")
        nests[name] = loops
    return Schedule(tuple(stem) if stem else None, ring, nests)


def _object(value: Any, what: str, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Fault(f"{what} must be an object, {{...}}, got {_short(value)}")
    unknown = next((n for n in value if keys and n not in keys), None)
    if keys and unknown is not None:
        near = did_you_mean(unknown, keys) or f"; it has {', '.join(keys)}"
        raise _Fault(f"{what} has an unknown entry '{unknown}'{near}")
    return value


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
