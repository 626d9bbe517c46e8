"""Image files for tests, those of 16 bits per channel written byte by byte: Pillow does not write them."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

H, W = 4, 5
RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (H, W, 3), np.uint8)
GREY = RNG.integers(0, 256, (H, W), np.uint8)
ALPHA = RNG.integers(0, 256, (H, W), np.uint8)
BITS = RNG.integers(0, 2, (H, W)).astype(bool)
RGB16 = RNG.integers(0, 65536, (H, W, 3), np.uint16)
GREY16 = RNG.integers(0, 65536, (H, W), np.uint16)
ALPHA16 = RNG.integers(0, 65536, (H, W), np.uint16)
FLOATS = RNG.random((H, W), np.float32)

#: TIFF's number of a compression.
DEFLATE = 8

#: PNG's numbers of its kinds of pixels.
PNG_GREY, PNG_RGB, PNG_GREY_ALPHA, PNG_RGB_ALPHA = 0, 2, 4, 6


def noise(folder: Path, height: int, width: int) -> Path:
    """Writes eight colour images of random pixels, the same on every call; returns the folder."""
    rng = np.random.default_rng(0)
    for i in range(8):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


def png(path: Path, values: np.ndarray, kind: int, bits: int = 16, chunks: bytes = b"", rows: bytes = b"") -> Path:
    """Writes a PNG without filters (PNG specification, 5.3 and 11.2); `chunks` stand before the pixels."""
    height, width = values.shape[:2]
    stored = values.astype(">u2" if bits == 16 else "u1")
    rows = rows or b"".join(b"\0" + row.tobytes() for row in stored)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunks + data)
    return path


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def tiff(path: Path, values: np.ndarray, order: str = "<", **tags: int) -> Path:
    """Writes an uncompressed TIFF in one strip (TIFF 6.0, section 2); `tags` replace entries by name."""
    values = values if values.ndim == 3 else values[:, :, None]
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    if tags.get("compression") == DEFLATE:
        data = zlib.compress(data)
    height, width, channels = values.shape
    bits, kind = 8 * values.dtype.itemsize, {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    named = {
        "photometric": 2 if channels > 1 else 1,
        "planar": 1,
        "kind": kind,
        "bits": bits,
        "compression": 1,
        "width": width,
        "orientation": 1,
    } | tags
    bits_at, strip_at = 8, 8 + 2 * channels
    bits_entry = (258, 3, channels, named["bits"] if channels == 1 else bits_at)
    entries = [
        (256, 3, 1, named["width"]),
        (257, 3, 1, height),
        bits_entry,
        (259, 3, 1, named["compression"]),
        (262, 3, 1, named["photometric"]),
        (273, 4, 1, strip_at),
        (274, 3, 1, named["orientation"]),
        (277, 3, 1, channels),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
        (284, 3, 1, named["planar"]),
        (339, 3, 1, named["kind"]),
    ]
    packed = b"".join(struct.pack(f"{order}HHI{'HH' if short(e) else 'I'}", *e, *[0] * short(e)) for e in entries)
    start = strip_at + len(data)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    sizes = struct.pack(f"{order}{channels}H", *[bits] * channels)
    path.write_bytes(head + sizes + data + struct.pack(f"{order}H", len(entries)) + packed + bytes(4))
    return path


def short(entry: tuple[int, ...]) -> bool:
    """Whether an entry holds its one short value itself."""
    return entry[1] == 3 and entry[2] == 1


def save(path: Path, values: np.ndarray, mode: str | None = None, **options: object) -> Path:
    """Writes a file by Pillow."""
    image = Image.fromarray(values)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def rotated(path: Path, values: np.ndarray, orientation: int) -> Path:
    """Writes an image whose EXIF says how to turn it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(path, values, exif=exif)


def compressed_tiff(path: Path, values: np.ndarray, name: str) -> Path:
    """Writes a 16-bit grey TIFF in a compression of libtiff."""
    Image.fromarray(values).save(path, compression=name)
    return path
