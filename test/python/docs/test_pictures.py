"""docs/levels.png shows every pass in its room, and is the picture that docs/pictures.py draws now."""

import pictures
import pytest
from folders import ROOT
from PIL import Image

from gradcam.passes.registry import PASSES, PIPELINES


@pytest.fixture
def drawn():
    return pictures.texts(pictures.levels())


def test_every_pass_is_drawn_once_and_every_room(drawn):
    names = [name for name, *_ in PASSES]
    assert [name for name in names if drawn.count(name) != 1] == []
    rooms = {f"passes/{room}" for _, room, *_ in PASSES}
    assert rooms == {text for text in drawn if text.startswith("passes/")}
    assert [name for name in pictures.UPSTREAM["CIRCT"] if name not in str(PIPELINES["gradcam-sv-pipeline"])] == []
    assert len([text for text in drawn if text.startswith(("gradcam-", "convert-"))]) <= len(names)


def test_the_picture_is_the_one_that_is_drawn_now(drawn):
    with Image.open(ROOT / "docs" / "levels.png") as picture:
        assert [picture.text[key] for key in sorted(picture.text)] == drawn, "run python docs/pictures.py"


def test_another_pass_would_be_another_picture(drawn, monkeypatch):
    monkeypatch.setattr(pictures, "PASSES", (*PASSES, ("gradcam-new", "linalg", "new", "New", "linalg")))
    assert set(pictures.texts(pictures.levels())) - set(drawn) == {"gradcam-new"}


def test_the_pictures_of_pages_are_small():
    sizes = {name: (ROOT / "docs" / name).stat().st_size for name in ("page.png", "page_run.png")}
    assert [name for name, size in sizes.items() if size > 200_000] == []
