"""The benchmark of normalized images: its inputs, and that its judgement can fail."""

import normalized
import numpy as np

from gradcam.data import compose
from gradcam.images import Preprocessing, load_images


def test_inputs_are_those_of_the_reader(tmp_path):
    """Two codes for the same: Pillow and NumPy in the benchmark, and `gradcam.images`."""
    files = normalized.write_files(compose("test", 3, seed=0).pixels, tmp_path / "files")
    how = Preprocessing.of(preset="imagenet", resize=normalized.SIDE)
    loaded = [image.input[0] for image in load_images(tmp_path / "files", normalized.Classifier.input_shape, how)]
    np.testing.assert_allclose(normalized.normalized(files), loaded, atol=1e-6)


def test_agreement():
    good = normalized.Agreement([(1, 1), (2, 2), (3, 3)], [0.9995, 0.9992, 0.5])
    assert good.reached
    assert str(good) == "class of float in 3 of 3, Pearson median 0.99920, 10th percentile 0.59984, least 0.50000"
    assert not normalized.Agreement([(1, 1), (2, 3), (3, 3)], good.correlations).reached
    assert not normalized.Agreement(good.classes, [0.9995, 0.9989, 0.5]).reached


def test_training_learns():
    images = compose("train", 128, seed=1)
    inputs = (images.pixels[:, ::2, ::2].transpose(0, 3, 1, 2) / 255).astype(np.float32)
    first, again = (normalized.trained(inputs, images.labels, 1).state_dict() for _ in range(2))
    assert all((value == again[name]).all() for name, value in first.items())
    assert not first["fc.bias"].isnan().any()
