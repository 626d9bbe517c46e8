"""Pictures in a page: images, maps over them, and maps element by element, as addresses that hold their data."""

from __future__ import annotations

import base64
import io

import numpy as np

from gradcam.view import jet, normalize

#: Pixels: the longest side of a picture in a page. Smaller sides are PNG, exact; larger ones are JPEG.
MOST, EXACT = 320, 96


def picture(pixels: np.ndarray) -> str:
    """A picture in a size that suits a page.

    Args:
        pixels: uint8, H x W x 3, RGB.
    """
    from PIL import Image

    image, buffer = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((MOST, MOST))
    if max(image.size) <= EXACT:
        image.save(buffer, "PNG", optimize=True)
        return _address("png", buffer.getvalue())
    image.save(buffer, "JPEG", quality=85, optimize=True)
    return _address("jpeg", buffer.getvalue())


def cells(values: np.ndarray) -> str:
    """A map after its normalization, a pixel for each element, in the colours of overlays.

    Args:
        values: h x w.
    """
    return _exact(np.rint(255 * jet(normalize(values))))


def signed_cells(values: np.ndarray) -> str:
    """A difference of maps, a pixel for each element: red above 0, blue below, white at 0; the largest one is pure.

    Args:
        values: h x w.
    """
    share = values / (np.abs(values).max() or 1)
    white = 1 - np.abs(share)
    planes = [np.where(share > 0, 1, white), white, np.where(share < 0, 1, white)]
    return _exact(np.rint(255 * np.stack(planes, axis=-1)))


def _exact(pixels: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return _address("png", buffer.getvalue())


def _address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
