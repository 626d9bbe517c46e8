"""Short names of images: as short as they can be, and never the same for two."""

import numpy as np
import pytest

from gradcam.labels import labels


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ([], []),
        (["a/b/cat.png"], ["cat.png"]),
        (["a/cat.png", "a/dog.png"], ["cat.png", "dog.png"]),
        (["a/cat.png", "b/cat.png", "b/dog.png"], ["a/cat.png", "b/cat.png", "dog.png"]),
        (["x/a/cat.png", "y/a/cat.png", "cat.png"], ["x/a/cat.png", "y/a/cat.png", "cat.png"]),
        (["/a/cat.png", "a/cat.png"], ["/a/cat.png", "a/cat.png"]),
        (["a/cat.png", "a/cat.png", "b/cat.png"], ["a/cat.png", "a/cat.png (2)", "b/cat.png"]),
        (["cat", "cat", "x/cat (2)", "cat"], ["cat", "cat (3)", "cat (2)", "cat (4)"]),
        (["photos.npy[0]", "photos.npy[1]"], ["photos.npy[0]", "photos.npy[1]"]),
    ],
)
def test_names(names, wanted):
    assert labels(names) == wanted


def test_all_are_different():
    random = np.random.default_rng(0)
    for _ in range(200):
        names = ["/".join(random.choice(["a", "b", "a (2)", ""], random.integers(1, 4))) for _ in range(8)]
        assert len(set(labels(names))) == len(names)
