"""Constants in the layout that the processing elements read: channels in tiles, filled up with zeros."""

from __future__ import annotations

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


def pack_channels(values: np.ndarray, channels: int, fill: int, dtype: type[np.signedinteger]) -> np.ndarray:
    """Lengthens one value per channel (shape C) to shape `channels` with `fill`."""
    packed = np.full(channels, fill, dtype)
    packed[: len(values)] = values
    return packed
