"""Short names of images that tell them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count


def labels(names: Sequence[str]) -> list[str]:
    """The names of files without their folders, but for those that tell files of one name apart: all are different.

    A file that is there several times has a number behind its name from the second time on.
    """
    parts = {name: name.split("/") for name in names}
    short = dict[str, str]()
    for depth in range(1, max(map(len, parts.values()), default=0) + 1):
        tails = {name: "/".join(part[-depth:]) for name, part in parts.items()}
        times = Counter(tails.values())
        short |= {name: tail for name, tail in tails.items() if name not in short and times[tail] == 1}
    used, given, found = set(short.values()), set[str](), list[str]()
    for name in names:
        label = short[name]
        if label in given:
            label = next(text for n in count(2) if (text := f"{label} ({n})") not in used)
        used.add(label)
        given.add(label)
        found.append(label)
    return found
