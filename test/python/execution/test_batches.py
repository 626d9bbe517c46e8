"""Images in batches: the f32 executor gives each image what it gives it alone, and calibration splits by memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from random_cnn import random_case
from small_networks import Network, small_resnet
from torch_mlir import ir

from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.execution import float32
from gradcam.execution.float32 import one_thread, run_float
from gradcam.images import batches
from gradcam.passes.backward.derive_backward import DeriveBackward
from gradcam.passes.backward.extract_masks import ExtractMasks
from gradcam.passes.backward.simplify_backward import SimplifyBackward
from gradcam.passes.ir.queries import main_function
from gradcam.passes.quantize import calibrate as calibration

METHODS = ("gradcam", "hirescam", "layercam", "xgradcam", "gradcam++")


def values_of(module: ir.Module, images: np.ndarray, classes: list[int]) -> list[np.ndarray]:
    """Every value that is computed, in program order."""
    values = []
    run_float(module, images, classes, lambda _op, _index, value: values.append(value))
    return values


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("passes", [(DeriveBackward,), (DeriveBackward, SimplifyBackward, ExtractMasks)])
def test_a_batch_computes_what_its_images_do_alone(seed, passes):
    net, target = random_case(seed)
    images = np.random.default_rng(seed).standard_normal((5, *net.shape(0)[1:])).astype(np.float32)
    classes = [-1, 1, 0, -1, 2]
    with make_context():
        module = net.module(target, METHODS[seed % len(METHODS)])
        for each in passes:
            each().run(module)
        together = values_of(module, images, classes)
        alone = [values_of(module, image[None], [cls]) for image, cls in zip(images, classes, strict=True)]
    for i, value in enumerate(together):
        # A value that no image enters, such as a pool's divisor, has no batch.
        parts = np.concatenate([values[i] for values in alone]) if len(value) == len(images) else alone[0][i]
        np.testing.assert_array_equal(value, parts)


def explained() -> tuple[ir.Module, np.ndarray]:
    net, target = random_case(3)
    module = net.module(target, "gradcam")
    DeriveBackward().run(module)
    return module, np.random.default_rng(0).standard_normal((3, *net.shape(0)[1:])).astype(np.float32)


def test_each_image_has_a_class_of_its_own():
    with make_context():
        module, images = explained()
        _, maps = run_float(module, images, [0, 1, 2])
        _, same = run_float(module, images, 1)
        np.testing.assert_array_equal(maps[1], same[1])
        assert not np.array_equal(maps[0], same[0]) and not np.array_equal(maps[2], same[2])
        with pytest.raises(GradcamError, match="there is no class 99"):
            run_float(module, images, [0, 99, 1])


def test_an_image_changes_nothing_beside_it():
    with make_context():
        module, images = explained()
        before = run_float(module, images)
        images[1] += 1
        after = run_float(module, images)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old[[0, 2]], new[[0, 2]])
        assert not np.array_equal(old[1], new[1])


def test_one_thread_and_back():
    threads = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == threads


def test_images_are_joined_in_order():
    images = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1, 1)
    joined = list(batches(iter(images), (1, 1, 1, 1), 4))
    assert [len(batch) for batch in joined] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(joined)[:, None], images)
    with pytest.raises(GradcamError, match="has shape 1x1x1x2, the model takes 1x1x1x1"):
        list(batches([images[0], np.zeros((1, 1, 1, 2), np.float32)], (1, 1, 1, 1), 4))


def test_a_batch_is_as_large_as_its_largest_feature_map_allows(monkeypatch):
    net = Network((1, 2, 8, 8))
    text = net.module(net.linear(net.flatten(net.relu(net.conv(net.image, 5))), 3))
    with make_context():
        module = ir.Module.parse(text)
        one = 5 * 8 * 8 * 4  # bytes; the weights of the network do not count
        for limit, size in ((7 * one, 7), (7 * one - 1, 6), (one - 1, 1)):
            monkeypatch.setattr(calibration, "BATCH_BYTES", limit)
            assert calibration.batch_size(main_function(module)) == size


@pytest.mark.parametrize("choice", ["mse", "percentile", "max"])
def test_ranges_do_not_depend_on_the_batches(monkeypatch, choice):
    images = np.random.default_rng(0).standard_normal((7, 1, 3, 6, 6)).astype(np.float32)
    sizes, texts, run = [], [], run_float

    def counted(module, batch, *more, **named):
        sizes.append(len(batch))
        return run(module, batch, *more, **named)

    monkeypatch.setattr(float32, "run_float", counted)
    with make_context():
        for limit in (1, 3 * 8 * 6 * 6 * 4, 1 << 30):
            monkeypatch.setattr(calibration, "BATCH_BYTES", limit)
            module = ir.Module.parse(small_resnet(6))
            calibration.calibrate(module, images, choice)
            texts.append(str(module))
        assert sizes == [1] * 7 + [3, 3, 1] + [7]
        assert texts[0] == texts[1] == texts[2]
        calibration.calibrate(module, images[1:], choice)
        assert str(module) != texts[0]  # one image less is noticed
