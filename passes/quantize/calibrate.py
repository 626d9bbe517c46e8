"""gradcam-calibrate: measures how large every feature map gets on sample images."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from torch_mlir import ir

from gradcam.bits import LEAST, Bits, check_bits
from gradcam.classes import best_class
from gradcam.dialect import cam_ops
from gradcam.dialect.traits import (
    AlignsOperands,
    ChannelAffine,
    Forward,
    Gradient,
    KeepsScale,
    LinearInFirst,
    Product,
    has,
)
from gradcam.dialect.verify import shape
from gradcam.errors import GradcamError, fail
from gradcam.images import ASSUMED, ASSUMED_INSIDE, Preprocessing, batches, load_images
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.constants import read_constant
from gradcam.passes.ir.explanations import class_dependents
from gradcam.passes.ir.given_ranges import given_range
from gradcam.passes.ir.normalization import entering, normalization_of, set_image_attribute
from gradcam.passes.ir.queries import location_name, main_function, users
from gradcam.passes.quantize.means import InputMeans
from gradcam.passes.quantize.unsigned_maps import unsigned_maps
from gradcam.quant_types import levels
from gradcam.quantiles import Quantiles

if TYPE_CHECKING:
    from gradcam.histogram import Histogram

_log = logging.getLogger(__name__)

RANGE = "gradcam.range"

#: The attribute of the function: the bits of feature maps for which ranges with the least squared error were chosen.
RANGE_BITS = "gradcam.range_bits"

#: Bytes of the largest f32 feature map of a batch: enough to make the walk over the ops cheap, and a part of a cache.
BATCH_BYTES = 2 << 20

#: The share of the images whose largest gradients are within the range. With less, the means over a map that Grad-CAM
#: takes miss what saturates; with more, the gradients of most images have fewer bits.
IMAGE_SHARE = 0.95

Choice = Literal["mse", "percentile", "max"]


@dataclass(frozen=True)
class Calibrate(Pass):
    """Runs the f32 module on sample images and writes on every feature map the largest magnitude to represent.

    Where a quantized model gave one (`gradcam.given_range`), it is that. A layer with a bias gets the mean of each
    channel of its input, too (`gradcam.passes.quantize.means`).

    A gradient gets a magnitude for each channel, because the weights that it is multiplied with decide which channel
    needs the largest range. Each image is explained for the predicted class and for one other, cycling through all
    others, and has a largest magnitude in each channel; a channel gets the 95th percentile of these over the images.
    One image with gradients ten times the usual ones then does not cost the maps of all others three bits.

    Options: `images` is a file or a folder (`gradcam.images`); `mean` and `std`, or `preset`, and `resize`, `crop` and
    `background` turn pixels into inputs, as the options of gradcam-compile do;
    `range` chooses the magnitude from all values seen: the clip with the least squared error of the bits that feature
    maps will have (`mse`), a `percentile` of the magnitudes, or the `max`, which gradients then have, too.
    `activation-bits`, for `mse`, must be that of gradcam-quantize, which reads it in the function's attribute
    `gradcam.range_bits`.

    This pass turns:
        func.func @main(%image: tensor<1x3x8x8xf32>) -> tensor<1x8xf32> {
          %0 = "gradcam.relu"(%x) : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x8xf32>
    into:
        func.func @main(%image: tensor<1x3x8x8xf32> {gradcam.range = 1.0 : f64}) -> tensor<1x8xf32> {
          %0 = "gradcam.relu"(%x) {gradcam.range = 5.75 : f64} : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x8xf32>
    """

    name: ClassVar[str] = "gradcam-calibrate"

    images: str
    range: Choice = "mse"
    percentile: float = 99.99
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    preset: str | None = None
    resize: tuple[int, ...] | None = None
    crop: tuple[int, ...] | None = None
    background: str = "black"
    activation_bits: int = LEAST

    def __post_init__(self) -> None:
        check_bits(self, self.named)

    def run(self, module: Any) -> None:  # noqa: D102
        assumed = ASSUMED if normalization_of(main_function(module)) is None else ASSUMED_INSIDE
        preset = assumed if self.mean is None and self.std is None and self.preset is None else self.preset
        how = Preprocessing.of(self.mean, self.std, preset, self.resize, self.crop, self.background)
        images = load_images(self.images, input_shape(module), how)
        calibrate(module, (image.input for image in images), self.range, self.percentile, self.activation_bits)


def input_shape(module: ir.Module) -> tuple[int, ...]:
    """Shape of the image that `@main` takes, (1, C, H, W)."""
    return tuple(ir.RankedTensorType(main_function(module).entry_block.arguments[0].type).shape)


def calibrate(
    module: ir.Module,
    images: Iterable[np.ndarray],
    choice: Choice = "mse",
    percentile: float = 99.99,
    activation_bits: int = LEAST,
) -> None:
    """Attaches `gradcam.range` to the image argument and to every forward op, and `gradcam.input_mean` to layers.

    Args:
        module: level 1 in f32, changed in place only when all went well.
        images: float32 1xCxHxW each, read once; see `gradcam.images.load_images`.
        choice: how a range is chosen from the magnitudes: "mse", "percentile" or "max".
        percentile: the percentile, above 0 and at most 100.
        activation_bits: bits of the feature maps that the ranges are for; the image has 8.

    Raises:
        GradcamError: no image, bits that are not possible, a value that is not finite, or an output that is zero for
            every image.
    """
    if choice not in get_args(Choice) or not 0 < percentile <= 100:
        raise GradcamError(
            f"range must be mse, percentile or max, and 0 < percentile <= 100, got {choice}, {percentile}"
        )
    Bits(activation_bits)  # refuses what is not possible
    main = main_function(module)
    means = InputMeans(main.entry_block.operations)
    statistics = _gather(module, images, means)
    _refuse_silent(main, statistics)
    unsigned, chosen = unsigned_maps(main), dict[ir.Value, np.float64]()
    for value, histogram in statistics.maps.items():
        largest = levels(activation_bits, value in unsigned)
        chosen[value] = np.float64(histogram.choose(choice, percentile, largest))
    gradients = {value: statistics.gradient_range(value, choice) for value in statistics.largest}
    found = _without_zero(main, chosen | gradients)
    with module.context, ir.Location.unknown():
        means.write()
        f64 = ir.F64Type.get()
        for value, range_ in found.items():
            is_array = value in gradients
            measured = ir.DenseF64ArrayAttr.get(range_.tolist()) if is_array else ir.FloatAttr.get(f64, float(range_))
            value.owner.attributes[RANGE] = given_range(value.owner.attributes) or measured
        image = {} if normalization_of(main) else {a.name: a.attr for a in main.arg_attrs[0]}
        measured = ir.FloatAttr.get(f64, statistics.image.choose(choice, percentile))
        set_image_attribute(main, RANGE, given_range(image) or measured)
        if choice == "mse":
            main.attributes[RANGE_BITS] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), activation_bits)
        elif RANGE_BITS in main.attributes:
            del main.attributes[RANGE_BITS]


def _without_zero(main: Any, ranges: Mapping[ir.Value, Any]) -> dict[ir.Value, Any]:
    """The ranges, by value: what was always zero has that of a sum or a gradient that is made of it, or 1.

    A range far from theirs would make a rescale that does not fit.
    """
    found = dict(ranges)
    for op in reversed(list(main.entry_block.operations)):
        value = op.results[0] if op.results else None
        if value in found and not found[value].any():
            readers = [user.results[0] for user in users(value) if has(user, Gradient)]
            read = [found[reader].max() for reader in readers if reader in found]
            found[value] = found[value] + (max(read, default=0.0) or 1.0)
    return found


@dataclass
class _Statistics:
    """What the calibration images make of a module.

    Attributes:
        image: the magnitudes of the images.
        maps: those of each feature map, by op result.
        largest: the largest magnitude of each channel of a gradient, by op result; float64, C.
        by_image: those of each image by itself, by op result.
    """

    image: Histogram
    maps: dict[ir.Value, Histogram] = field(default_factory=dict)
    largest: dict[ir.Value, np.ndarray] = field(default_factory=dict)
    by_image: dict[ir.Value, Quantiles] = field(default_factory=dict)

    def add_gradients(self, found: Mapping[ir.Value, np.ndarray]) -> None:
        """Adds the largest magnitudes of gradients for some images (N x C each)."""
        for value, magnitudes in found.items():
            self.largest[value] = np.maximum(self.largest.get(value, 0.0), magnitudes.max(0))
            quantiles = self.by_image.setdefault(value, Quantiles())
            for image in magnitudes:
                quantiles.add(image)

    def gradient_range(self, value: ir.Value, choice: Choice) -> np.ndarray:
        """The magnitude that each channel of a gradient is to represent: float64, C; of some channel it is not 0."""
        usual = self.largest[value] if choice == "max" else self.by_image[value].at(IMAGE_SHARE)
        return usual if usual.any() else self.largest[value]


def _gather(module: ir.Module, images: Iterable[np.ndarray], means: InputMeans) -> _Statistics:
    """Runs all images through the module and collects magnitudes, and the inputs of layers in `means`."""
    # These import torch, which takes a second; reading the table of passes, or a range, does not need it.
    from gradcam.execution.float32 import one_thread, run_float
    from gradcam.histogram import Histogram

    found, gradients = _Statistics(Histogram()), dict[ir.Value, np.ndarray]()
    main = main_function(module)
    of_class, by_class = class_dependents(main), _by_class(main)

    def on_forward(op: Any, _index: int, value: np.ndarray) -> None:
        if has(op, Forward) and op.results[0] not in of_class:
            _require_finite(op, found.maps.setdefault(op.results[0], Histogram()).add(value))

    def on_gradient(op: Any, _index: int, value: np.ndarray) -> None:
        if has(op, Gradient) and op.results[0] in of_class and value.ndim in (2, 4):
            largest = np.abs(value).max(tuple(range(2, value.ndim))).astype(np.float64)
            _require_finite(op, np.isfinite(largest).all())
            if op.results[0] in by_class:  # a class that no image was explained for is as large as the others
                largest = np.broadcast_to(largest.max(1, keepdims=True), largest.shape)
            gradients[op.results[0]] = np.maximum(gradients.get(op.results[0], 0.0), largest)

    def on_value(op: Any, index: int, value: np.ndarray) -> None:
        means.add(op.results[index], value)
        on_forward(op, index, value)
        on_gradient(op, index, value)

    with one_thread():
        for batch in batches(images, input_shape(module), batch_size(main)):
            seen = found.image.count // batch[0].size
            entered = entering(main, batch)
            if not found.image.add(entered):
                raise GradcamError("a calibration image has values that are not finite")
            means.add(main.entry_block.arguments[0], entered)
            logits = run_float(module, batch, on_value=on_value)[0]
            if gradients:
                run_float(module, batch, _other_classes(logits, seen), on_gradient)
                found.add_gradients(gradients)
                gradients.clear()
    if found.image.count == 0:
        raise GradcamError("calibration needs at least one image")
    return found


def _other_classes(logits: np.ndarray, seen: int) -> list[int]:
    """For each image a class that is not the predicted one, where there is one.

    Args:
        logits: N x K.
        seen: the number of images before these; the distance to the predicted class goes with it from 1 to K - 1.
    """
    count = logits.shape[1]
    distances = np.arange(seen, seen + len(logits)) % max(1, count - 1) + 1
    return ((np.array([best_class(row) for row in logits]) + distances) % count).tolist()


def _by_class(main: Any) -> set[ir.Value]:
    """The gradients that have a channel for each class: the seed, and what is computed from it before any product."""
    found: set[ir.Value] = set()
    for op in main.entry_block.operations:
        is_next = len(op.operands) > 0 and op.operands[0] in found and has(op, Gradient) and not has(op, Product)
        if isinstance(op, cam_ops.OneHotOp) or is_next:
            found.update(op.results)
    return found


def batch_size(main: Any) -> int:
    """The number of images that run at once: the most for which no result exceeds `BATCH_BYTES`, at least one."""
    results = [v for op in main.entry_block.operations if op.operation.name.startswith("gradcam.") for v in op.results]
    largest = max((math.prod(shape(v)) for v in results), default=1)
    return max(1, BATCH_BYTES // (largest * np.float32().itemsize))


def _require_finite(op: Any, finite: bool) -> None:
    if not finite:
        raise fail(op, f"'{op.operation.name}' yields values that are not finite on a calibration image")


def _refuse_silent(main: Any, statistics: _Statistics) -> None:
    """Refuses outputs to which only values lead that are zero for every image: there would be nothing to compare later.

    What is zero for any image, because constants of the model are, is no fault. Other zeros, as of a dead branch beside
    a living one, are told: no image says how large they get.
    """
    if statistics.image.largest == 0:
        raise fail(main, "every calibration image is zero; calibrate with images the model will meet")
    zero = {value for value, histogram in statistics.maps.items() if histogram.largest == 0}
    zero |= {value for value, largest in statistics.largest.items() if not largest.any()}
    fixed = _unvarying(main, zero)
    silent = [op for op in main.entry_block.operations if op.results and op.results[0] in zero - fixed]
    if not silent:
        return
    outputs, reached = list(list(main.entry_block.operations)[-1].operands), _reached(main, zero, fixed)
    if not set(outputs) <= reached:
        names = ", ".join(f"'{op.operation.name}' at {op.location}" for op in silent)
        remedy = "calibrate with images the model will meet"
        if outputs[0] in reached:  # the logits are not zero
            is_gradient = any(op.results[0] in statistics.largest for op in silent)
            reason = ", since the gradient of a ReLU that always gives 0 is 0" if is_gradient else ""
            remedy = f"so is the map{reason}; {remedy}, or explain another layer"
        raise fail(silent[0], f"zero on every calibration image: {names}; {remedy}")
    more = f" and of {len(silent) - 1} more ops" if len(silent) > 1 else ""
    text = "the result of '%s'%s is zero on every calibration image; integers may not hold what other images make of it"
    _log.warning(text, location_name(silent[0]), more)


def _reached(main: Any, zero: set[ir.Value], fixed: set[ir.Value]) -> set[ir.Value]:
    """The values to which the image leads through values that are not always zero, or constants of the model.

    Args:
        main: the function.
        zero: the values that were zero on every calibration image.
        fixed: the values that depend on neither the image nor the class.
    """
    found = {*main.entry_block.arguments, *fixed}
    for op in main.entry_block.operations:
        parts = [v in found for v in op.operands if read_constant(v) is None]
        is_reached = any(parts) if has(op, AlignsOperands) else all(parts)
        if is_reached and not zero.intersection(op.results):
            found.update(op.results)
    return found


def _unvarying(main: Any, zero: set[ir.Value]) -> set[ir.Value]:
    """The values that depend on neither the image nor the class.

    Args:
        main: the function.
        zero: the values that were zero on every calibration image.
    """
    found: set[ir.Value] = set()
    for op in main.entry_block.operations:
        parts = list(op.operands)
        weight = read_constant(parts[0 if isinstance(op, cam_ops.ClassRowOp) else 1]) if len(parts) > 1 else None
        has_zero_weight = has(op, Product, KeepsScale, ChannelAffine) and weight is not None and not weight.any()
        is_zero = has(op, LinearInFirst) and parts[0] in found and parts[0] in zero
        if has_zero_weight or is_zero or all(v in found for v in parts):
            found.update(op.results)
    return found
