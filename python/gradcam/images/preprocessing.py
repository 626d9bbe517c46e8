"""How the pixels of an image become a network's input; `program.json` holds it, so that every tool does the same."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from gradcam.errors import GradcamError, did_you_mean
from gradcam.schema.document import Count, Record

#: Mean and standard deviation by name; a pixel of 0 to 1 becomes (pixel - mean) / std. "tf" is Keras's name (its
#: `preprocess_input` has a mode "tf") of what "minus-one-one" says.
PRESETS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "tf": ((0.5,), (0.5,)),
    "zero-one": ((0.0,), (1.0,)),
    "minus-one-one": ((0.5,), (0.5,)),
}

#: What pixels become where nobody says anything else; in a model that normalizes its image itself, ASSUMED_INSIDE.
ASSUMED, ASSUMED_INSIDE = "minus-one-one", "zero-one"

#: The largest magnitude of a mean and the largest std that are taken for those of pixels from 0 to 1. A mean of 2 is as
#: far from the pixels as they are wide; statistics of pixels from 0 to 255 are far above both, but for a std of 1.
LARGEST_MEAN, LARGEST_STD = 2.0, 10.0

#: The smallest std: 1 / 2^24 makes of pixels the integers up to which float32 holds each.
SMALLEST_STD = 2.0**-24

#: On what transparent images are composed where nobody says anything else.
BLACK = (0, 0, 0)

#: A number, or one per channel.
Numbers = float | Sequence[float]

#: A size as people give it: pixels of the shorter side, or height and width.
Size = int | Sequence[int]

Positive = Annotated[float, msgspec.Meta(gt=0)]
Level = Annotated[int, msgspec.Meta(ge=0, le=255)]
Sides = Annotated[tuple[Count, ...], msgspec.Meta(min_length=1, max_length=2)]


class Normalization(Record, frozen=True):
    """What a model itself does to its image before anything else: (image - mean) / std.

    Such constants of a model are no part of the design. What takes them out of the network does to the image before
    it becomes int8, so that zeros of padding stay zeros behind the constants.

    Attributes:
        mean: a number per channel.
        std: a number per channel, never 0, negative where the model changes the sign.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def applied(self, images: np.ndarray) -> np.ndarray:
        """What the network behind the constants takes.

        Args:
            images: of the model; float, ... x C x H x W.

        Returns:
            float32, the same shape.
        """
        mean, std = (np.asarray(v, np.float32)[:, None, None] for v in (self.mean, self.std))
        return (images.astype(np.float32) - mean) / std

    def undone(self, values: np.ndarray) -> np.ndarray:
        """The images of which `applied` makes `values`; float64."""
        mean, std = (np.asarray(v)[:, None, None] for v in (self.mean, self.std))
        return values.astype(np.float64) * std + mean

    def then(self, factor: np.ndarray, offset: np.ndarray) -> Normalization:
        """Followed by factor * x + offset, a number per channel each, float64; no factor is 0."""
        std = np.asarray(self.std) / factor
        return Normalization(tuple((np.asarray(self.mean) - offset * std).tolist()), tuple(std.tolist()))

    @property
    def is_exact(self) -> bool:
        """Whether float32 holds every number."""
        with np.errstate(over="ignore", under="ignore"):
            mean, std = (np.asarray(v, np.float32) for v in (self.mean, self.std))
        return bool(np.isfinite([mean, std]).all() and (np.abs(std) >= np.finfo(np.float32).tiny).all())

    def __str__(self) -> str:
        """The formula."""
        mean, std = _numbers_text(self.mean), _numbers_text(self.std)
        return f"(image - {mean}) / {std}" if "," not in mean + std else f"(image - [{mean}]) / [{std}]"


class Preprocessing(Record, frozen=True):
    """What is done to the pixels of an image, in the order: background, resize, crop, mean and std, normalization.

    The result of all but the last is what the model takes.

    Attributes:
        mean: subtracted from pixels of 0 to 1: a number, or one per channel.
        std: what the difference is divided by, in the same form.
        resize: pixels of the shorter side, or height and width, to which an image is resized; null for no resizing.
        crop: height and width that are cut from the centre, one number for a square; null for the whole image.
        background: red, green and blue, 0 to 255, on which transparent images are composed.
        normalization: what the model itself does to its image, as the compile has taken it out of the network; null
            for nothing.
    """

    mean: tuple[float, ...]
    std: tuple[Positive, ...]
    resize: Sides | None
    crop: Sides | None
    background: Annotated[tuple[Level, ...], msgspec.Meta(min_length=3, max_length=3)]
    normalization: Normalization | None

    @classmethod
    def of(
        cls,
        mean: Numbers | None = None,
        std: Numbers | None = None,
        preset: str | None = None,
        resize: Size | None = None,
        crop: Size | None = None,
        background: str | Sequence[int] = "black",
    ) -> Preprocessing:
        """The preprocessing that people describe.

        Args:
            mean: a number or one per channel, for pixels of 0 to 1, from -2 to 2; with `std`.
            std: in the same form, positive and at most 10.
            preset: one of `PRESETS`, instead of `mean` and `std`. Without all three: `ASSUMED`.
            resize: pixels of the shorter side, or height and width. Bilinear with antialiasing, as Pillow does it.
            crop: pixels of a square, or height and width, cut from the centre.
            background: a colour such as "white" or "#ff8000", or its red, green and blue, 0 to 255.

        Raises:
            GradcamError: a value is impossible, or two of them contradict each other.
        """
        means, stds = _statistics(mean, std, preset)
        return cls(means, stds, _sides(resize, "resize"), _sides(crop, "crop"), _colour(background), None)

    def normalized(self, pixels: np.ndarray, white: float) -> np.ndarray:
        """The input of pixels: (pixel / white - mean) / std in float32.

        Args:
            pixels: any real type, ... x H x W x C.
            white: the value of a white pixel.

        Returns:
            float32, ... x C x H x W.

        Raises:
            GradcamError: mean or std has another number of channels.
        """
        mean, std = (np.asarray(v, np.float32) for v in self._per_channel(pixels.shape[-1]))
        scaled = pixels.astype(np.float32) / white
        return np.ascontiguousarray(np.moveaxis((scaled - mean) / std, -1, -3))

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """The pixels, 0 to 1, of an input: what `normalized` undoes.

        Args:
            values: float, C x H x W.

        Returns:
            float64, H x W x C.
        """
        mean, std = self._per_channel(len(values))
        return np.moveaxis(values.astype(np.float64), 0, -1) * std + mean

    def of_channels(self, channels: int) -> Preprocessing:
        """The same with a mean and a std for every channel.

        Raises:
            GradcamError: mean or std has another number of channels.
        """
        mean, std = (tuple(values) for values in self._per_channel(channels))
        inside = self.normalization
        if inside is not None and ({len(inside.mean), len(inside.std)} != {channels} or 0 in inside.std):
            raise GradcamError(f"normalization must have a mean and a std, not 0, for each of {channels} channels")
        return msgspec.structs.replace(self, mean=mean, std=std)

    def for_model(self, shape: Sequence[int]) -> Preprocessing:
        """The same with a mean and a std for every channel of a model that takes images of `shape`, (1, C, H, W).

        Raises:
            GradcamError: a setting has another number of channels, cannot give the model's size for any image, or has
                no effect.
        """
        channels, size = shape[1], tuple(shape[2:])
        if channels not in (1, 3) and self.background != BLACK:
            reason = "composes no transparent image; leave it out"
            raise GradcamError(f"background has no effect: a model of {channels} channels {reason}")
        self._refuse_other_sizes(size)
        return self.of_channels(channels)

    def _refuse_other_sizes(self, size: tuple[int, ...]) -> None:
        """Refuses a resize and a crop that give images of height and width `size` of no image."""
        name, sides = ("resize", self.resize) if self.crop is None else ("crop", self.crop)
        if sides is None:
            return
        is_whole = name == "crop" or len(sides) == 2
        if (sides[0], sides[-1]) != size if is_whole else sides[0] != min(size):
            raise GradcamError(
                f"{name} {size_text(sides)} never gives the {size_text(size)} pixels (height x width) that the model "
                f"takes; give {name} {size_text(size)}"
            )
        if self.crop is None or self.resize is None:
            return
        shorter = [min(size)] if len(self.resize) == 1 else size
        if any(a < b for a, b in zip(self.resize, shorter, strict=True)):
            text = f"resize {size_text(self.resize)} leaves less than the crop {size_text(self.crop)}"
            raise GradcamError(f"{text} of every image; give a larger resize, such as {size_text(size)}")

    def entering(self, images: np.ndarray) -> np.ndarray:
        """The images, float ... x C x H x W, as they enter the design before they become int8."""
        return images if self.normalization is None else self.normalization.applied(images)

    def before_entering(self, values: np.ndarray) -> np.ndarray:
        """What `entering` undoes."""
        return values if self.normalization is None else self.normalization.undone(values)

    @property
    def of_pixels(self) -> tuple[list[float], list[float]]:
        """Mean and std, a number per channel, by which pixels of 0 to 1 enter the design: (pixel - mean) / std."""
        if self.normalization is None:
            return list(self.mean), list(self.std)
        (mean, std), (m, s) = (map(np.asarray, (x.mean, x.std)) for x in (self, self.normalization))
        return (mean + m * std).tolist(), (s * std).tolist()

    def _per_channel(self, channels: int) -> list[list[float]]:
        found = []
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                wanted = "one number" if channels == 1 else f"one number or {channels}"
                raise GradcamError(f"{name} has {len(values)} numbers, the model {channels} channels; give {wanted}")
            found.append([*values] * (channels // len(values)))
        return found

    def __str__(self) -> str:
        """A line for a report."""
        parts = [] if self.background == BLACK else [f"transparent images on {colour_text(self.background)}"]
        if self.resize:
            parts.append(f"resize to {size_text(self.resize)}{' on the shorter side' if len(self.resize) == 1 else ''}")
        if self.crop:
            parts.append(f"crop {size_text(self.crop)}")
        parts.append(f"mean {_numbers_text(self.mean)}, std {_numbers_text(self.std)} of pixels from 0 to 1")
        if self.normalization:
            parts.append(f"then the model's own {self.normalization}")
        return "; ".join(parts)


def size_text(sides: Sequence[int]) -> str:
    """A size as the options take it: 224, or 224x160."""
    return "x".join(map(str, sides))


def colour_text(levels: Sequence[int]) -> str:
    """A colour as `--background` takes it: #ff8000."""
    return "#" + "".join(f"{level:02x}" for level in levels)


def _numbers_text(values: Sequence[float]) -> str:
    """Numbers between commas; one for equal ones."""
    return ",".join(f"{v:g}" for v in (values if len(set(values)) > 1 else values[:1]))


def _statistics(
    mean: Numbers | None, std: Numbers | None, preset: str | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if preset is not None:
        if mean is not None or std is not None:
            raise GradcamError(f"preset {preset} has a mean and a std; leave out mean and std, or the preset")
        if preset not in PRESETS:
            near = did_you_mean(preset, PRESETS) or f"; there are {', '.join(PRESETS)}"
            raise GradcamError(f"there is no preset '{preset}'{near}")
        return PRESETS[preset]
    if mean is None and std is None:
        return PRESETS[ASSUMED]
    if mean is None or std is None:
        given, missing = ("std", "mean") if mean is None else ("mean", "std")
        raise GradcamError(f"{given} without {missing}; give both, for pixels from 0 to 1")
    means, stds = _numbers(mean, "mean"), _numbers(std, "std")
    if min(stds) <= 0:
        raise GradcamError(f"std must be positive, got {_numbers_text(stds)}")
    for name, values, largest in (("mean", means, LARGEST_MEAN), ("std", stds, LARGEST_STD)):
        if max(map(abs, values)) > largest:
            raise GradcamError(
                f"{name} {_numbers_text(values)} is far from pixels, which are 0 to 1; "
                "divide a mean and a std of pixels from 0 to 255 by 255"
            )
    if min(stds) < SMALLEST_STD:
        raise GradcamError(f"std must be at least {SMALLEST_STD:g}, for pixels from 0 to 1, got {_numbers_text(stds)}")
    return means, stds


def _listed(given: Any) -> list[Any]:
    """The elements of a sequence or an array of any shape as they are, or the one value that is given instead."""
    return np.array(given, object).reshape(-1).tolist()


def _is(value: Any, kind: type) -> bool:
    """Whether a value is a number of a kind, of Python or of NumPy; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _numbers(values: Numbers, name: str) -> tuple[float, ...]:
    found = _listed(values)
    if not found or not all(_is(v, numbers.Real) and math.isfinite(v) for v in found):
        raise GradcamError(f"{name} must be a number, or one per channel, got {values}")
    return tuple(map(float, found))


def _sides(size: Size | None, name: str) -> tuple[int, ...] | None:
    if size is None:
        return None
    sides = _listed(size)
    if len(sides) not in (1, 2) or not all(_is(s, numbers.Integral) and s > 0 for s in sides):
        raise GradcamError(f"{name} must be a number of pixels, or height and width such as 224x160, got {size}")
    return tuple(map(int, sides))


def _colour(colour: str | Sequence[int]) -> tuple[int, ...]:
    if isinstance(colour, str):
        if colour == "black":  # so that a driver needs no Pillow
            return BLACK
        from PIL import ImageColor

        try:
            colour = ImageColor.getrgb(colour)
        except ValueError:
            raise GradcamError(f"background must be a colour such as white or #ff8000, got '{colour}'") from None
    levels = _listed(colour)
    if len(levels) != 3 or not all(_is(v, numbers.Integral) and 0 <= v <= 255 for v in levels):
        raise GradcamError(f"background must be red, green and blue from 0 to 255, got {colour}")
    return tuple(map(int, levels))
