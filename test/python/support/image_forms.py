"""The forms of images of the table in docs/images.md: how a file of each is written, and the pixels that it means."""

import struct

import numpy as np
from image_files import (
    ALPHA,
    ALPHA16,
    BITS,
    DEFLATE,
    FLOATS,
    GREY,
    GREY16,
    PNG_GREY,
    PNG_GREY_ALPHA,
    PNG_RGB,
    PNG_RGB_ALPHA,
    RGB,
    RGB16,
    chunk,
    png,
    rotated,
    save,
    tiff,
)
from PIL import Image

#: ITU-R BT.601 as Pillow's documentation of `Image.convert` has it.
LUMA = np.array([299, 587, 114]) / 1000


def lossy(path, values, mode=None, **options):
    """A file whose decoded values Pillow alone knows."""
    save(path, values, mode, **options)
    return path, np.asarray(Image.open(path).convert("RGB")) / 255


def cmyk(path):
    """A JPEG of four inks, which are without color profiles: (255 - ink) * (255 - black) / 255."""
    Image.fromarray(np.full((4, 5, 3), (200, 100, 50), np.uint8)).convert("CMYK").save(path, quality=100)
    inks = np.asarray(Image.open(path)).astype(int)
    light = 255 - inks[:, :, 3:]
    return path, (light - np.floor(inks[:, :, :3] * light / 255 + 0.5)) / 255


def palette(path, transparent=False):
    """16 colours, one of them transparent where asked for."""
    image = Image.fromarray((np.arange(20) % 16).astype(np.uint8).reshape(4, 5), "P")
    colours = np.random.default_rng(5).integers(0, 256, (16, 3), np.uint8)
    image.putpalette(colours.tobytes())
    image.save(path, **({"transparency": 3} if transparent else {}))
    pixels = colours[np.arange(20) % 16].reshape(4, 5, 3) / 255
    if transparent:
        pixels[(np.arange(20) % 16 == 3).reshape(4, 5)] = 0
    return path, pixels


def over_black(values, alpha, white):
    """Pixels times their alpha, rounded to the file's depth."""
    return np.rint(values * (alpha / white)[:, :, None]) / white


def pfm(path):
    """A portable float map: rows from the last to the first, little-endian floats of a negative scale."""
    path.write_bytes(b"Pf\n5 4\n-1.0\n" + FLOATS[::-1].astype("<f4").tobytes())
    return path, FLOATS


def ppm16(path):
    """A PPM of 12 bits."""
    values = RGB16.astype(int) % 4096
    path.write_bytes(b"P6\n5 4\n4095\n" + values.astype(">u2").tobytes())
    return path, values / 4095


def pgm100(path):
    """A PGM whose white is 100."""
    path.write_bytes(b"P5\n5 4\n100\n" + (GREY % 101).tobytes())
    return path, GREY % 101 / 100


def transparent_value(path):
    """A PNG of 16 bits in which one colour is transparent."""
    colour = struct.pack(">3H", *RGB16[1, 2])
    different = (RGB16[1, 2] != RGB16).any(2)
    return png(path, RGB16, PNG_RGB, chunks=chunk(b"tRNS", colour)), RGB16 / 65535 * different[:, :, None]


def four_bits(path):
    """A grey PNG of 4 bits, two pixels to a byte, in which one value is transparent."""
    values = np.arange(20).reshape(4, 5) % 16
    padded = np.pad(values, ((0, 0), (0, 1)))
    rows = b"".join(b"\0" + bytes(int(a) << 4 | int(b) for a, b in zip(r[::2], r[1::2], strict=True)) for r in padded)
    written = png(path, values, PNG_GREY, 4, chunk(b"tRNS", struct.pack(">H", 7)), rows)
    return written, values / 15 * (values != 7)


def twelve_bits(path):
    """A grey TIFF of 12 bits, two pixels to three bytes."""
    values = GREY16[:, :4].astype(int) % 4096
    a, b = values[:, ::2], values[:, 1::2]
    packed = np.dstack([a >> 4, (a & 15) << 4 | b >> 8, b & 255]).reshape(4, 6).astype(np.uint8)
    return tiff(path, packed, bits=12, width=4), values / 4095


def turned(orientation, turn):
    """A JPEG-like file that EXIF turns; PNG keeps the values."""
    return lambda path: (rotated(path, turn(RGB), orientation), RGB / 255)


def array(values, pixels):
    """An .npy file."""

    def write(path):
        np.save(path, values)
        return path, pixels

    return write


def archive(pixels, **arrays):
    """An .npz file; of several arrays the one named `images` is meant."""

    def write(path):
        np.savez(path, **arrays)
        return (f"{path}:images" if len(arrays) > 1 else path), pixels

    return write


RGBA = np.dstack([RGB, ALPHA])

#: The row of the table in docs/images.md, a file's name, and what writes it: the source and its pixels, from 0 to 1,
#: H x W or H x W x 3.
FORMS = {
    ("RGB, 8 bits", "x.png"): lambda p: (save(p, RGB), RGB / 255),
    ("RGB, 8 bits", "x.bmp"): lambda p: (save(p, RGB), RGB / 255),
    ("RGB, 8 bits", "x.tiff"): lambda p: (save(p, RGB, compression="tiff_lzw"), RGB / 255),
    ("RGB, 8 bits", "x.ppm"): lambda p: (save(p, RGB), RGB / 255),
    ("RGB, 8 bits", "x.webp"): lambda p: (save(p, RGB, lossless=True, exact=True), RGB / 255),
    ("RGB, 8 bits", "x.jpg"): lambda p: lossy(p, RGB),
    ("grey, 8 bits", "x.png"): lambda p: (save(p, GREY), GREY / 255),
    ("grey, 8 bits", "x.jpeg"): lambda p: lossy(p, GREY),
    ("grey, 8 bits", "white is zero.tif"): lambda p: (tiff(p, GREY, photometric=0), 1 - GREY / 255),
    ("1, 2 or 4 bits", "x.png"): lambda p: (save(p, BITS), BITS.astype(float)),
    ("1, 2 or 4 bits", "x.tif"): lambda p: (save(p, BITS, compression="group4"), BITS.astype(float)),
    ("1, 2 or 4 bits", "four.png"): four_bits,
    ("palette", "x.png"): palette,
    ("palette", "transparent.png"): lambda p: palette(p, True),
    ("alpha", "rgb.png"): lambda p: (save(p, RGBA), over_black(RGB, ALPHA, 255)),
    ("alpha", "grey.png"): lambda p: (save(p, np.dstack([GREY, ALPHA])), over_black(GREY[:, :, None], ALPHA, 255)),
    ("alpha", "x.webp"): lambda p: (save(p, RGBA, lossless=True, exact=True), over_black(RGB, ALPHA, 255)),
    ("alpha", "x.tiff"): lambda p: (save(p, RGBA), over_black(RGB, ALPHA, 255)),
    ("alpha", "rgb16.png"): lambda p: (
        png(p, np.dstack([RGB16, ALPHA16]), PNG_RGB_ALPHA),
        over_black(RGB16, ALPHA16, 65535),
    ),
    ("alpha", "grey16.png"): lambda p: (
        png(p, np.dstack([GREY16, ALPHA16]), PNG_GREY_ALPHA),
        over_black(GREY16[:, :, None], ALPHA16, 65535),
    ),
    ("alpha", "one colour.png"): transparent_value,
    ("12 or 16 bits", "grey.png"): lambda p: (png(p, GREY16, PNG_GREY), GREY16 / 65535),
    ("12 or 16 bits", "rgb.png"): lambda p: (png(p, RGB16, PNG_RGB), RGB16 / 65535),
    ("12 or 16 bits", "grey.tif"): lambda p: (tiff(p, GREY16), GREY16 / 65535),
    ("12 or 16 bits", "big.tif"): lambda p: (tiff(p, GREY16, ">"), GREY16 / 65535),
    ("12 or 16 bits", "white is zero.tif"): lambda p: (tiff(p, GREY16, photometric=0), 1 - GREY16 / 65535),
    ("12 or 16 bits", "rgb.tif"): lambda p: (tiff(p, RGB16), RGB16 / 65535),
    ("12 or 16 bits", "big rgb.tif"): lambda p: (tiff(p, RGB16, ">"), RGB16 / 65535),
    ("12 or 16 bits", "packed rgb.tif"): lambda p: (tiff(p, RGB16, compression=DEFLATE), RGB16 / 65535),
    ("12 or 16 bits", "twelve.tif"): twelve_bits,
    ("12 or 16 bits", "grey.pgm"): lambda p: (save(p, GREY16), GREY16 / 65535),
    ("12 or 16 bits", "twelve.ppm"): ppm16,
    ("another largest value", "x.pgm"): pgm100,
    ("floats, 0 to 1", "x.tif"): lambda p: (tiff(p, FLOATS), FLOATS),
    ("floats, 0 to 1", "big packed.tif"): lambda p: (tiff(p, FLOATS, ">", compression=DEFLATE), FLOATS),
    ("floats, 0 to 1", "x.pfm"): pfm,
    ("CMYK, YCbCr", "x.jpg"): cmyk,
    ("EXIF orientation", "6.png"): turned(6, lambda v: np.rot90(v)),
    ("EXIF orientation", "3.png"): turned(3, lambda v: np.rot90(v, 2)),
    ("EXIF orientation", "5.tif"): turned(5, lambda v: v.transpose(1, 0, 2)),
    ("`.npy`, uint8, uint16 or bool", "hwc.npy"): array(RGB, RGB / 255),
    ("`.npy`, uint8, uint16 or bool", "chw.npy"): array(RGB.transpose(2, 0, 1), RGB / 255),
    ("`.npy`, uint8, uint16 or bool", "nhwc.npy"): array(RGB[None], RGB / 255),
    ("`.npy`, uint8, uint16 or bool", "nchw.npy"): array(RGB.transpose(2, 0, 1)[None], RGB / 255),
    ("`.npy`, uint8, uint16 or bool", "deep.npy"): array(RGB16, RGB16 / 65535),
    ("`.npy`, uint8, uint16 or bool", "big.npy"): array(RGB16.astype(">u2"), RGB16 / 65535),
    ("`.npy`, uint8, uint16 or bool", "bool.npy"): array(np.dstack([BITS] * 3), np.dstack([BITS] * 3).astype(float)),
    ("`.npz`, one array", "x.npz"): archive(RGB / 255, arr=RGB[None]),
    ("`.npz`, several arrays", "x.npz"): archive(RGB / 255, images=RGB[None], labels=np.arange(1)),
}
