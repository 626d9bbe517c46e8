"""Proved widths: the bounds against the extremes that images reach, and what a wrong bound does."""

from dataclasses import replace

import numpy as np
import pytest
import rtl_networks
from torch_mlir import ir

from examples.walkthrough import network
from gradcam.bits import signed_bits
from gradcam.compiler import Compilation, Settings
from gradcam.jit import run_affine
from gradcam.passes.ir.constants import elements_of
from gradcam.passes.ir.queries import is_argument, is_global
from gradcam.passes.program.nest import read_nests
from gradcam.passes.program.ranges import Range, ranges_of
from gradcam.reference.integer import run_integer


def compiled(level):
    return Compilation(network(), Settings("block", pe="4x4")).to(level)


def weights_of(quantized, shape):
    """The first constant of int8 weights with this shape, int64."""
    for op in quantized.body.operations[0].regions[0].blocks[0].operations:
        if op.operation.name == "arith.constant" and isinstance(op.attributes["value"], ir.DenseElementsAttr):
            values = elements_of(op.attributes["value"])
            if values.shape == shape and values.dtype == np.int8:
                return values.astype(np.int64)
    raise LookupError(shape)


def accumulators(module):
    """The proved range of the sums of each nest that has some, and the bits of their registers, by name."""
    with module.context:
        nests = read_nests(module)
        found = {n.name: (r.accumulators[0].ends, n) for n, r in zip(nests, ranges_of(nests), strict=True) if n.body}
        return {name: (ends, nest.accumulators[0].bits) for name, (ends, nest) in found.items()}


def extremes(weights, low, high):
    """Per output channel the least and the largest sum of weights times integers from low to high, int64."""
    products = np.stack([weights * low, weights * high]).reshape(2, len(weights), -1)
    return products.min(0).sum(1), products.max(0).sum(1)


@pytest.mark.parametrize(
    ("nest", "shape", "low", "high"), [("block.relu", (4, 3, 3, 3), -128, 127), ("block.relu_1", (4, 4, 3, 3), 0, 255)]
)
def test_a_bound_is_the_largest_sum_that_a_map_can_give(nest, shape, low, high):
    quantized, scheduled = compiled("quantized"), compiled("scheduled")
    least, largest = extremes(weights_of(quantized, shape), low, high)
    (ends, bits) = accumulators(scheduled)[nest]
    assert ends == (least.min(), largest.max())
    assert bits >= signed_bits(*ends)


def worst_images(quantized):
    """Per channel of the first convolution an image of which one pixel has the largest sum, and one the least."""
    weights = weights_of(quantized, (4, 3, 3, 3))
    for kernel in weights:
        for sign in (1, -1):
            image = np.zeros((3, 4, 8), np.int8)
            image[:, 0:3, 2:5] = np.where(sign * kernel > 0, 127, -128)
            image[:, 0:3, 5:8] = np.where(sign * kernel > 0, -128, 127)
            yield image


def differences(quantized, scheduled):
    """How many of the worst images give other logits or maps than the integer reference."""
    count = 0
    for image in worst_images(quantized):
        expected = run_integer(quantized, image[None])
        got = run_affine(scheduled, np.ascontiguousarray(image.transpose(1, 2, 0)), np.array([-1], np.int32))
        count += any(not np.array_equal(a, b[0]) for a, b in zip(got[:2], expected, strict=True))
    return count


def test_sums_at_their_bounds_are_exact():
    assert differences(compiled("quantized"), compiled("scheduled")) == 0


def test_a_bound_that_is_too_small_is_found(monkeypatch):
    """The negative of the test above: a quarter of the bound has two bits less."""
    total = Range.total

    def quarter(self, axes, extents):
        return Range(*(end // 4 for end in total(self, axes, extents)))

    monkeypatch.setattr(Range, "total", quarter)
    scheduled = compiled("scheduled")
    monkeypatch.undo()
    assert differences(compiled("quantized"), scheduled) > 0


def test_of_what_is_in_memory_sums_alone_are_narrower():
    """Maps, weights, multipliers and biases keep their types, and so does what leaves."""
    module = compiled("scheduled")
    with module.context:
        accesses = [a for n in read_nests(module) for a in (*n.loads, *n.stores)]
        sums = {a.element_bits for a in accesses if not is_global(a.memref) and not is_argument(a.memref)}
        types = {a.element_bits for a in accesses if is_global(a.memref) or is_argument(a.memref)}
    assert types == {8, 18, 32}
    assert 8 in sums and 16 < max(sums - {32}) < 32


@pytest.mark.parametrize("bits", [9, 12])
def test_integers_that_need_just_the_bits_in_which_they_are_stored(bits):
    """A cast to the bits that its operand is narrowed to is none."""
    net = rtl_networks.leaky()
    settings = replace(net.settings("4x4"), activation_bits=bits)
    quantized, scheduled = (Compilation(net, settings).to(level) for level in ("quantized", "scheduled"))
    image = np.random.default_rng(0).integers(-128, 128, np.shape(net.calibration_images[0])).astype(np.int8)
    expected = run_integer(quantized, image[None])
    got = run_affine(scheduled, np.ascontiguousarray(image.transpose(1, 2, 0)), np.array([-1], np.int32))
    assert all(np.array_equal(a, b[0]) for a, b in zip(got[:2], expected, strict=True))
