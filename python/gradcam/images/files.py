"""Image files by Pillow: every mode as grey or RGB at its own depth, with transparency apart."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradcam.errors import GradcamError
from gradcam.outside import reading

#: Formats that Pillow may open, and the suffixes by which a folder's images are found.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM")
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pbm", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")

#: Tags of TIFF.
BITS_PER_SAMPLE, PHOTOMETRIC, PLANAR = 258, 262, 284
WHITE_IS_ZERO, SEPARATE_PLANES = 0, 2

#: Raw modes of PNG that Pillow scales to 8 bits, and the factors.
SCALED = {"L;2": 85, "L;4": 17}

#: Pillow reads one byte of 16 bits per channel. Which one, the end of its raw mode says; this is the one for the other.
OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


@dataclass(frozen=True)
class Pixels:
    """The pixels of a file.

    Attributes:
        values: uint8, uint16 or float32, H x W x 1 or H x W x 3.
        white: the value of a white pixel.
        alpha: 0 to 1, float64, H x W; None for an opaque image.
    """

    values: np.ndarray
    white: float
    alpha: np.ndarray | None = None


def read_pixels(path: Path) -> Pixels:
    """Reads an image file, upright by its EXIF orientation.

    Raises:
        GradcamError: the file is no image of `FORMATS`, is damaged or too large, has several frames, or pixels of
            which Pillow does not tell the whole value.
    """
    from PIL import UnidentifiedImageError

    with reading(f"image {path}"):
        try:
            with _opened(path) as image:
                if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # MPO: a photograph and its previews
                    raise GradcamError(f"{path} has {image.n_frames} frames; save the one that is meant as a file")
                return _decoded(image, path)
        except UnidentifiedImageError:
            formats = ", ".join((*FORMATS[:-1], f"or {FORMATS[-1]}"))
            raise GradcamError(
                f"cannot read image {path}: Pillow reads no image of the kinds {formats} in it"
            ) from None


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Opens a file in Pillow, which refuses one of too many pixels.

    Pillow maps a file that it opens by its name into memory. Of an uncompressed TIFF it then takes the size that the
    EXIF orientation has already turned for that of the stored rows, which scrambles the pixels; a file object is read.
    """
    from PIL import Image

    warnings.simplefilter("error", Image.DecompressionBombWarning)
    with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
        yield image


def _decoded(image: Any, path: Path) -> Pixels:
    if image.format == "PPM" and image.mode != "1" and image.tile[0].codec_name in ("ppm", "ppm_plain"):
        return _of_largest_value(image, path)
    depth = _depth(image)
    if image.format == "TIFF" and depth > 8 and image.tag_v2.get(PLANAR) == SEPARATE_PLANES:
        raise GradcamError(f"{path} has a plane per channel at {depth} bits; save it with interleaved channels")
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _grey(image, depth, path)
    if depth > 8:
        return _deep(image, path)
    return _shallow(image)


def _depth(image: Any) -> int:
    """Bits of a channel of the file."""
    if image.format == "TIFF":
        return max(image.tag_v2.get(BITS_PER_SAMPLE, (1,)))
    (*_, arguments) = image.tile[0] if image.tile else ("",)
    return 16 if ";16" in str(arguments) and image.format == "PNG" else 8


def _upright(image: Any) -> Any:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _array(image: Any) -> np.ndarray:
    values = np.asarray(_upright(image))
    return values[:, :, None] if values.ndim == 2 else values


def _grey(image: Any, depth: int, path: Path) -> Pixels:
    """Grey of 16 bits, or of floats."""
    transparent = image.info.get("transparency")  # the one value of transparent pixels
    inverted = image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO
    if image.tile and image.tile[0].codec_name == "libtiff":  # gives the machine's order of bytes, not the file's
        _set_raw_mode(image, "F;32BF", "F;32NF")
    values, white = _array(image), float((1 << depth) - 1)
    if image.mode.startswith("I;16"):
        values = values.astype(np.uint16)  # in the machine's order of bytes
    elif image.mode == "F":
        values, white = values.astype(np.float32), 1.0
        if not ((values >= 0) & (values <= 1)).all():
            found = f"from {values.min():g} to {values.max():g}"
            raise GradcamError(f"{path} has floats {found}, and what is white is not known; scale them to 0 to 1")
    else:
        if image.format != "PPM":
            kind = f"{depth}-bit signed" if depth == 16 else f"{depth}-bit"
            raise GradcamError(f"{path} has {kind} integers, and what is white is not known; save unsigned 16 bits")
        values, white = values.astype(np.uint16), 65535.0
    alpha = _different(values, transparent)
    return Pixels(white - values if inverted else values, white, alpha)


def _deep(image: Any, path: Path) -> Pixels:
    """Colour, or grey with alpha, of 16 bits per channel."""
    kind = image.tile[0].args if isinstance(image.tile[0].args, str) else image.tile[0].args[0]
    transparent = image.info.get("transparency")
    if kind == "LA;16B":  # its four bytes
        first = _with_raw_mode(image, kind, "RGBA").astype(np.uint16)
        values = first[:, :, ::2] << 8 | first[:, :, 1::2]
    elif kind[:-1] in ("RGB;16", "RGBA;16", "RGBX;16"):
        with _opened(path) as again:
            low = _with_raw_mode(again, kind, kind[:-1] + OTHER_BYTE[kind[-1]])
        values = _array(image).astype(np.uint16) << 8 | low
    else:
        raise GradcamError(f"{path} has {kind.partition(';')[0]} pixels of 16 bits; save it as RGB of 16 bits")
    if kind.startswith(("LA", "RGBA")):
        return Pixels(values[:, :, :-1], 65535.0, _unless_opaque(values[:, :, -1] / 65535))
    return Pixels(values[:, :, :3], 65535.0, _different(values, transparent))


def _with_raw_mode(image: Any, old: str, new: str) -> np.ndarray:
    """Decodes an image whose stored bytes are of the raw mode `old` as if they were of `new`."""
    _set_raw_mode(image, old, new)
    return _array(image)


def _set_raw_mode(image: Any, old: str, new: str) -> None:
    image.tile = [
        tile._replace(args=new if tile.args == old else tuple(new if a == old else a for a in tile.args))
        for tile in image.tile
    ]


def _of_largest_value(image: Any, path: Path) -> Pixels:
    """A PGM or PPM with the largest value that its header names, which Pillow would scale to 8 or 16 bits."""
    name, _, offset, (_, white) = image.tile[0]
    channels, dtype = len(image.getbands()), ">u2" if white > 255 else "u1"
    if name == "ppm_plain":
        if channels == 3 and white > 255:
            raise GradcamError(f"{path} is a plain PPM of more than 8 bits; save it as a binary one")
        scaled, scale = _array(image), white / (65535 if image.mode == "I" else 255)
        values = np.rint(scaled * scale)  # exact: Pillow's steps are as fine as the file's, or finer
    else:
        count = image.width * image.height * channels
        values = np.fromfile(path, dtype, count, offset=offset)
        if values.size < count or values.max() > white:
            raise GradcamError(f"{path} {'is truncated' if values.size < count else f'has values above its {white}'}")
    unsigned = values.astype(np.dtype(dtype).newbyteorder("="))
    return Pixels(unsigned.reshape(image.height, image.width, channels), float(white))


def _shallow(image: Any) -> Pixels:
    """Any mode of at most 8 bits, as Pillow converts it to grey or RGB."""
    grey = image.mode in ("1", "L", "LA", "La")
    see_through, raw = image.has_transparency_data, image.tile[0].args if image.tile else ""
    if image.mode in ("RGBa", "La"):  # premultiplied
        image = image.convert(image.mode.upper())
    if see_through and raw in SCALED:  # Pillow scales the pixels only, not the value of transparent ones
        values = _array(image)
        return Pixels(values, 255.0, _different(values, image.info["transparency"] * SCALED[raw]))
    if see_through:
        values = _array(image.convert("LA" if grey else "RGBA"))
        return Pixels(values[:, :, :-1], 255.0, _unless_opaque(values[:, :, -1] / 255))
    return Pixels(_array(image.convert("L" if grey else "RGB")), 255.0)


def _different(values: np.ndarray, transparent: int | tuple[int, ...] | None) -> np.ndarray | None:
    """The alpha of an image whose pixels of one value are transparent; None where there is no such value."""
    return None if transparent is None else _unless_opaque((values != np.array(transparent)).any(2).astype(np.float64))


def _unless_opaque(alpha: np.ndarray) -> np.ndarray | None:
    return None if (alpha == 1).all() else alpha
