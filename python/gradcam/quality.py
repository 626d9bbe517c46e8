"""How close an int8 network is to its float network: classes, logits and maps, and what saturates on the way."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from torch_mlir import ir

from gradcam.dialect.activation_ops import FunctionOp
from gradcam.dialect.adjoint_ops import RequantizeOp
from gradcam.dialect.traits import Activation, ChoosesScale, Forward, Gradient, Product, Slope, has, trait
from gradcam.errors import GradcamError
from gradcam.execution.float32 import one_thread
from gradcam.float_network import FloatNetwork, ImageQuality, Outputs
from gradcam.functions import FUNCTIONS
from gradcam.images import batches
from gradcam.numerics import outside, unsaturated
from gradcam.passes.ir.constants import dense_values
from gradcam.passes.ir.explanations import class_dependents, map_names
from gradcam.passes.ir.normalization import entering
from gradcam.passes.ir.queries import location_name, main_function, only_user, users
from gradcam.passes.quantize.calibrate import batch_size, input_shape
from gradcam.passes.quantize.gradient_queries import removes
from gradcam.quant_types import SCALE_TOLERANCE, is_narrow, scale, scales, storage_limits
from gradcam.reference.integer import quantize_image, run_integer
from gradcam.report import count_macs
from gradcam.schema.report import MapQuality, Quality, Rounding, Saturation, Source
from gradcam.stability import Stability

Item = TypeVar("Item")

#: The calibration images that a compile compares int8 with float on: at most IMAGES, and fewer, but LEAST_IMAGES, where
#: all of them together would take more than WORK multiply-adds.
IMAGES, LEAST_IMAGES, WORK = 16, 4, 16e9


class Spread(Generic[Item]):
    """Keeps items of a stream of unknown length, evenly spread: every k-th, with k a power of two.

    Attributes:
        kept: at most `limit` items, and more than half as many where the stream has more.
        seen: number of items that passed.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.kept, self.seen, self._step = limit, list[Item](), 0, 1

    def passing(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yields the items, unchanged."""
        for item in items:
            if self.seen % self._step == 0:
                self.kept.append(item)
            if len(self.kept) > self.limit:
                self.kept, self._step = self.kept[::2], 2 * self._step
            self.seen += 1
            yield item


def default_count(quantized: Any) -> int:
    """The number of calibration images on which a compile measures the quality of a level-2 module."""
    return max(LEAST_IMAGES, min(IMAGES, int(WORK / max(1, count_macs(quantized)))))


def evenly(items: Sequence[Item], limit: int) -> Sequence[Item]:
    """At most `limit` items, at equal distances."""
    return items[:: -(-len(items) // limit)] if items else items


def float_network(module: Any, quantized: Any) -> FloatNetwork:
    """The float network of a quantized one (level 2) that was made from `module`."""
    return FloatNetwork(module, activation_limits(module, quantized) | gradient_limits(module, quantized))


def measure(module: Any, quantized: Any, images: Iterable[np.ndarray], source: Source) -> Quality:
    """The quality of a quantized network.

    Args:
        module: level 1.
        quantized: level 2, made from it.
        images: float32, 1xCxHxW each.
        source: where they come from.

    Raises:
        GradcamError: there is no image.
    """
    network = float_network(module, quantized)
    main = main_function(quantized)
    image_limits = unsaturated(scale(main.entry_block.arguments[0]))
    scales = [scale(value) for value in main.entry_block.operations[-1].operands]
    found, beyond, pixels, stability = list[ImageQuality](), 0, 0, Stability(network, quantized)
    with one_thread():
        for batch in batches(images, input_shape(module), batch_size(main_function(module))):
            integers = [run_integer(quantized, quantize_image(quantized, image[None])) for image in batch]
            outputs = [Outputs.of([x[0] for x in each], scales) for each in integers]
            found += network.compare(batch, outputs)
            stability.add(batch, found[-len(batch) :], [output.first for output in outputs])
            beyond, pixels = beyond + outside(entering(main, batch), image_limits), pixels + batch.size
    if not found:
        raise GradcamError("validation needs at least one image")
    return summary(source, found, network, beyond / pixels, stability)


def activation_limits(module: Any, quantized: Any) -> dict[ir.Value, tuple[float, float]]:
    """The range of every feature map that a quantized module stores in 8 bits, by result of the float module's op.

    What only an activation reads that clips it to the same range, or is flat beyond it, may saturate: the result is
    the same.

    Args:
        module: level 1.
        quantized: level 2, made from it.
    """
    pairs = zip(_forward(module), _forward(quantized), strict=True)
    kept = [(x.results[0], q.results[0]) for x, q in pairs if _stores(q)]
    return {x: unsaturated(scale(q), *storage_limits(q)) for x, q in kept}


def gradient_limits(module: Any, quantized: Any) -> dict[ir.Value, tuple[np.ndarray, np.ndarray]]:
    """The range of every gradient that a quantized module stores, by result of the float module's op.

    What a mask removes from a gradient, before another op reads it, may saturate: the result is the same. Of a gradient
    that is stored at several scales, or only so, a value is within the range where it is within that of each scale.

    Args:
        module: level 1.
        quantized: level 2, made from it.
    """
    pairs = zip(_backward(module), _backward(quantized), strict=True)
    kept = [(x.results[0], q.results[0]) for x, q in pairs if _is_counted(x)]
    found = {x: [_limits(v) for v in [q, *_requantized(q)] if is_narrow(v)] for x, q in kept}
    return {x: _within_each(limits) for x, limits in found.items() if limits}


def _backward(module: Any) -> list[Any]:
    main = main_function(module)
    of_class = class_dependents(main)
    ops = [op for op in main.entry_block.operations if has(op, Gradient) and op.results[0] in of_class]
    return [op for op in ops if not isinstance(op, RequantizeOp)]


def _is_counted(op: Any) -> bool:
    reader = only_user(op)
    return (has(op, ChoosesScale) or removes(op)) and not (reader is not None and removes(reader))


def _requantized(value: ir.Value) -> list[ir.Value]:
    return [user.results[0] for user in users(value) if isinstance(user, RequantizeOp)]


def _limits(value: ir.Value) -> tuple[np.ndarray, np.ndarray]:
    """The real values that a gradient stores without saturation, for each channel where these have scales."""
    step = scales(value)
    rank = len(ir.RankedTensorType(value.type).shape)
    return unsaturated(step.reshape(-1, *[1] * (rank - 2)), *storage_limits(value))


def _within_each(limits: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    lows, highs = zip(*limits, strict=True)
    return functools.reduce(np.maximum, lows), functools.reduce(np.minimum, highs)


def _forward(module: Any) -> list[Any]:
    main = main_function(module)
    of_class = class_dependents(main)
    return [op for op in main.entry_block.operations if has(op, Forward) and op.results[0] not in of_class]


def _stores(op: Any) -> bool:
    if not has(op, ChoosesScale, Activation) or not is_narrow(op.results[0]):
        return False
    readers = [user for user in users(op.results[0]) if not has(user, Slope)]
    reader = readers[0] if len(readers) == 1 else None
    kind = trait(reader, Activation)
    if isinstance(reader, FunctionOp):
        limit = FUNCTIONS[reader.function.value].limit
        return scale(op.results[0]) * storage_limits(op.results[0])[1] < limit * (1 - SCALE_TOLERANCE)
    return kind is None or not kind.clips


def rounded_weights(module: Any, quantized: Any) -> Iterator[Rounding]:
    """The layers with weights, in program order.

    Args:
        module: level 1.
        quantized: level 2, made from it.
    """
    for op, integer in zip(_forward(module), _forward(quantized), strict=True):
        if has(op, Product):
            nonzero = dense_values(op.operands[1].owner) != 0
            zero = dense_values(integer.operands[1].owner.operands[0].owner) == 0
            yield Rounding(location_name(op), int(nonzero.sum()), int((nonzero & zero).sum()))


def summary(
    source: Source,
    images: Sequence[ImageQuality],
    network: FloatNetwork,
    pixels_outside: float,
    stability: Stability,
) -> Quality:
    """The quality on a number of images.

    Args:
        source: where they come from.
        images: at least one.
        network: that compared them.
        pixels_outside: share of their elements that lie outside of the range of the quantized image.
        stability: of the float network's own maps.
    """
    names = map_names(len(network.explanations))
    shares = {value: beyond / seen for value, (beyond, seen) in network.saturated.items()}
    of_class = class_dependents(main_function(network.module))
    maps, gradients = list[Saturation](), list[Saturation]()
    for value, share in shares.items():
        (gradients if value in of_class else maps).append(Saturation(location_name(value.owner), share))
    return Quality(
        source=source,
        images=len(images),
        same_class=sum(image.same_class for image in images),
        logit_error=max(image.logit_error for image in images),
        largest_logit=max(image.largest_logit for image in images),
        pixels_outside=pixels_outside,
        maps=_map_qualities(names, [image.correlations for image in images]),
        noise=_map_qualities(names, stability.noise),
        shift=_map_qualities(names, stability.shift),
        saturated=tuple(maps),
        saturated_gradients=tuple(gradients),
    )


def _map_qualities(names: Sequence[str], images: Sequence[Sequence[float]]) -> dict[str, MapQuality]:
    """The figures of each map, from one coefficient per map for each image."""
    return {name: _map_quality([image[i] for image in images]) for i, name in enumerate(names)}


def _map_quality(correlations: Sequence[float]) -> MapQuality:
    defined = [r for r in correlations if not np.isnan(r)]
    if not defined:
        return MapQuality(0, None, None, None)
    median, tenth = (float(np.quantile(defined, q)) for q in (0.5, 0.1))
    return MapQuality(len(defined), median, tenth, min(defined))
