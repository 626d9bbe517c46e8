"""EXIF orientations of TIFF files, where the stored height and width are those of the upright image or swapped."""

import numpy as np
import pytest
from image_files import DEFLATE, tiff
from PIL import Image

from gradcam.images.files import read_pixels

RNG = np.random.default_rng(8)
BYTES = RNG.integers(0, 256, (4, 7, 4), np.uint8)
DEEP = RNG.integers(0, 65536, (4, 7, 3), np.uint16)

#: What an orientation does to the stored rows (Exif 2.32, 4.6.4).
UPRIGHT = {
    1: lambda v: v,
    2: lambda v: v[:, ::-1],
    3: lambda v: v[::-1, ::-1],
    4: lambda v: v[::-1],
    5: lambda v: v.swapaxes(0, 1),
    6: lambda v: np.rot90(v, -1),
    7: lambda v: v[::-1, ::-1].swapaxes(0, 1),
    8: lambda v: np.rot90(v),
}

#: Stored pixels by Pillow's mode.
MODES = {
    "L": BYTES[:, :, 0],
    "P": BYTES[:, :, 0],
    "RGB": BYTES[:, :, :3],
    "RGBA": BYTES,
    "CMYK": BYTES,
    "I;16": DEEP[:, :, 0],
}


def written(path, mode, orientation, **options):
    """A TIFF by Pillow, and its upright colours, H x W or H x W x 3."""
    stored = MODES[mode]
    image = Image.frombytes(mode, (7, 4), stored.tobytes())
    meant = stored
    if mode == "P":
        palette = RNG.integers(0, 256, (256, 3), np.uint8)
        image.putpalette(palette.tobytes())
        meant = palette[stored]
    elif mode == "CMYK":
        meant = np.asarray(image.convert("RGB"))
    image.save(path, exif={274: orientation}, **options)
    return UPRIGHT[orientation](meant)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_every_mode_is_turned_upright(orientation, mode, compression, tmp_path):
    """An uncompressed file too, which Pillow would map into memory with the height and width swapped."""
    meant = written(tmp_path / "x.tif", mode, orientation, **({"compression": compression} if compression else {}))
    pixels = read_pixels(tmp_path / "x.tif")
    np.testing.assert_array_equal(pixels.values.squeeze(), meant[..., :3] if meant.ndim == 3 else meant)
    if mode == "RGBA":
        np.testing.assert_array_equal(np.rint(pixels.alpha * 255), meant[..., 3])


@pytest.mark.parametrize("compression", [1, DEFLATE])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_colours_of_16_bits_are_turned_upright(orientation, compression, tmp_path):
    """Their bytes are read twice, each time from the file."""
    tiff(tmp_path / "x.tif", DEEP, orientation=orientation, compression=compression)
    np.testing.assert_array_equal(read_pixels(tmp_path / "x.tif").values, UPRIGHT[orientation](DEEP))
