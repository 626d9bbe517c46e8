"""Constants in the layout that the processing elements read: channels in tiles, filled up with zeros."""

from __future__ import annotations

from math import gcd, lcm
from typing import NamedTuple

import numpy as np

from gradcam.pe import PE


def pack_weights(w: np.ndarray, pe: PE) -> np.ndarray:
    """Puts a convolution's weights into tiles of OC x IC.

    Args:
        w: O x C x KH x KW.
        pe: the array.

    Returns:
        ceil(O/OC) x ceil(C/IC) x KH x KW x OC x IC of the same type.
    """
    o, c, kh, kw = w.shape
    oct_, ict = -(-o // pe.oc), -(-c // pe.ic)
    padded = np.zeros((oct_ * pe.oc, ict * pe.ic, kh, kw), w.dtype)
    padded[:o, :c] = w
    return padded.reshape(oct_, pe.oc, ict, pe.ic, kh, kw).transpose(0, 2, 4, 5, 1, 3)


class Blocks(NamedTuple):
    """How the groups of a convolution are put together to blocks that tiles of the array fill.

    The weights of a block are a block diagonal matrix, which the tiles cover. No tile is outside of a block.

    Attributes:
        number: the number of blocks.
        groups: the groups of a block; the last block may have fewer.
    """

    number: int
    groups: int

    @staticmethod
    def of(groups: int, outputs: int, inputs: int, pe: PE) -> Blocks:
        """The smallest blocks of whole tiles, for groups of so many output and input channels.

        All groups are one block where blocks would end behind the last word of a feature map.
        """
        together = lcm(pe.oc // gcd(pe.oc, outputs), pe.ic // gcd(pe.ic, inputs))
        number = -(-groups // together)
        fits = all(number * together * n <= pe.padded(groups * n) for n in (outputs, inputs))
        return Blocks(number, together) if fits else Blocks(1, groups)


def pack_groups(w: np.ndarray, groups: int, pe: PE) -> np.ndarray:
    """Puts a grouped convolution's weights into tiles of OC x IC, block by block.

    Args:
        w: O x C/groups x KH x KW.
        groups: the number of groups.
        pe: the array.

    Returns:
        blocks x tiles of outputs x tiles of inputs x KH x KW x OC x IC of the same type.
    """
    outputs, inputs = len(w) // groups, w.shape[1]
    blocks = Blocks.of(groups, outputs, inputs, pe)
    dense = np.zeros((blocks.number, blocks.groups * outputs, blocks.groups * inputs, *w.shape[2:]), w.dtype)
    for group in range(groups):
        block, place = divmod(group, blocks.groups)
        rows, columns = (slice(place * n, (place + 1) * n) for n in (outputs, inputs))
        dense[block, rows, columns] = w[group * outputs : (group + 1) * outputs]
    return np.stack([pack_weights(block, pe) for block in dense])


def pack_channels(values: np.ndarray, channels: int, fill: int) -> np.ndarray:
    """Lengthens one value per channel (shape C) to shape `channels` with `fill`."""
    packed = np.full(channels, fill, values.dtype)
    packed[: len(values)] = values
    return packed
