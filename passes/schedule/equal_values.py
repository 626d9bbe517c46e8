"""Values that what shares hardware has in common."""

from __future__ import annotations

from collections.abc import Collection, Iterable, MutableMapping
from typing import TypeVar

Key = TypeVar("Key")


def raise_to_largest(values: MutableMapping[Key, int], groups: Iterable[Collection[Key]]) -> None:
    """Raises values until all of a group are equal: to the largest one of all groups that share keys.

    Args:
        values: by key.
        groups: keys whose values are to be equal; a key may be in several groups.
    """
    groups, changed = list(groups), True
    while changed:
        changed = False
        for group in groups:
            largest = max(values[key] for key in group)
            changed |= any(values[key] < largest for key in group)
            values.update(dict.fromkeys(group, largest))
