"""Schedules that are refused: files that are none, and what does not fit the network."""

import dataclasses

import pytest
import schedules

from gradcam.compiler import Compilation, Settings
from gradcam.errors import GradcamError


@pytest.fixture(scope="module")
def small():
    """A network, its settings, and its level-4 module before the schedule."""
    net = schedules.network()
    return net, net.settings("4x4"), schedules.affine(Compilation(net, net.settings("4x4")))


NEST = "layers.5"
LOOPS = ["oc", "y", "x", "ic", "ky", "kx"]


def nests_of(*loops):
    return {"nests": {NEST: {"loops": list(loops)}}}


ROWS_AND_COLUMNS = "must be null or two positive integers, rows and columns of a kernel"
LOOP_LIST = 'must be a list of loops such as ["oc", "y/8", "x", "y%8"]'

FILES = [
    ("{", " is not valid JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
    ("[" * 100000, " is not valid JSON: it is nested too deeply"),
    ('{"ring": ' + "1" * 5000 + "}", " is not valid JSON: Exceeds the limit (4300 digits)"),
    ('{"ring": 3, "ring": 4}', ': the name "ring" stands twice in one object'),
    ('{"nests": {"\\ud800": {"loops": []}}}', " is not valid JSON: a text has one half of a surrogate pair"),
    ('{"ring": NaN}', ": NaN is no number"),
    ('{"ring": 1e999}', ": the number 1e999 is too large"),
    ([], ": $ must be an object, {...}, got []"),
    ({"format": 2}, ": $.format must be 1, the one that this version reads, got 2"),
    ({"format": True}, ": $.format must be 1, the one that this version reads, got true"),
    ({"stems": [1, 1]}, ": $.stems is unknown; did you mean 'stem'?"),
    ({"stem": [1]}, f": $.stem {ROWS_AND_COLUMNS}, got [1]"),
    ({"stem": [0, 1]}, ": $.stem[0] must be an integer of at least 1, got 0"),
    ({"ring": "large"}, """: $.ring must be null or an integer of at least 1, got "large\""""),
    ({"ring": True}, ": $.ring must be null or an integer of at least 1, got true"),
    ({"nests": ["conv"]}, """: $.nests must be an object, {...}, got ["conv"]"""),
    ({"nests": {"conv": LOOPS}}, """: $.nests.conv must be an object, {...}, got ["oc", "y", "x", "ic", "ky", "kx"]"""),
    ({"nests": {NEST: {"order": [], "loops": []}}}, f': $.nests["{NEST}"].order is unknown; an object here has loops'),
    ({"nests": {"a": {"loops": ["oc"]}, NEST: {}}}, f': $.nests["{NEST}"].loops is missing'),
    ({"nests": {NEST: {"loops": "y"}}}, f""": $.nests["{NEST}"].loops {LOOP_LIST}, got "y\""""),
    (nests_of("oc", 4), f': $.nests["{NEST}"].loops[1] must be a text, got 4'),
]


@pytest.mark.parametrize(("data", "message"), FILES)
def test_files_that_are_no_schedule(data, message, tmp_path):
    file = schedules.write_json(tmp_path / "s.json", data)
    with pytest.raises(GradcamError) as caught:
        Settings("layer4", schedule=file)
    assert str(caught.value).startswith(f"the schedule {file}") and message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(GradcamError, match=f"cannot read the schedule {tmp_path}/none: No such file or directory"):
        Settings("layer4", schedule=tmp_path / "none")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe{}")
    with pytest.raises(GradcamError, match=f"the schedule {tmp_path}/bytes is not text in UTF-8"):
        Settings("layer4", schedule=tmp_path / "bytes")


SCHEDULES = [
    (
        {"nests": {"layer.5": {"loops": LOOPS}}},
        "names a nest 'layer.5', which the program lacks; did you mean 'layers.5'?",
    ),
    (nests_of(*LOOPS[:-1]), ", oc, y, x, ic, ky, lacks the loop kx; the nest has oc, y, x, ic, ky, kx"),
    (nests_of(*LOOPS, "z"), " has an unknown loop 'z'; the nest has oc, y, x, ic, ky, kx"),
    (nests_of(*LOOPS, "ky"), " has ky and ky; a loop stands once, or as both parts of one tiling, y/4 and y%4"),
    (nests_of("y/2", *LOOPS), " has y/2 and y; a loop stands once, or as both parts of one tiling, y/4 and y%4"),
    (nests_of("y/2", "y%4", "oc", *LOOPS[2:]), " has y/2 and y%4; a loop stands once, or as both parts of one tiling"),
    (nests_of("y/2", "oc", *LOOPS[2:]), " has y/2; a loop stands once, or as both parts of one tiling, y/4 and y%4"),
    (nests_of("y/3", "y%3", "oc", *LOOPS[2:]), " has tiles of 3, which do not divide the 8 iterations of y"),
    (nests_of("y/0", "oc", *LOOPS[2:]), " has 'y/0', which is no loop such as y, y/4 or y%4"),
    (nests_of("y-1", "oc", *LOOPS[2:]), " has 'y-1', which is no loop such as y, y/4 or y%4"),
    (nests_of("oc", "ky", "y", "x", "ic", "kx"), "oc, ky, y, x, ic, kx, violates a dependence: from the store of an "),
    (
        {"nests": {"image": {"loops": ["x", "y"]}}},
        "x, y, violates a dependence: from the beat at (y=0, x=1) to that at (y=1, x=0) of argument 0, which it reads: "
        "elements pass once, row by row",
    ),
    ({"nests": {"explain.class": {"loops": ["ic", "d0"]}}}, "ic, d0, leaves no loop over outputs outside of the "),
    ({"nests": {"explain.class": {"loops": ["d0", "ic/1", "ic%1"]}}}, "tiles ic, whose number the nest computes with"),
    ({"stem": [4, 1]}, "the schedule's stem of 4 rows and 1 columns cannot be: the kernel has 3 positions"),
    ({"stem": [1, 2]}, "the schedule's stem of 1 rows and 2 columns cannot be: it takes 8 lanes, and the array has 4"),
    ({"ring": 99}, "the schedule has a ring of weights, but weights are on chip; leave it out, or put them in DRAM"),
]


@pytest.mark.parametrize(("data", "message"), SCHEDULES)
def test_schedules_that_do_not_fit_the_network(data, message, small, tmp_path):
    net, settings, affine = small
    settings = dataclasses.replace(settings, schedule=schedules.write_json(tmp_path / "s.json", data))
    with pytest.raises(GradcamError) as caught:
        schedules.scheduled(affine, settings)
        Compilation(net, settings).to("linalg")  # where the stem is chosen
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_rings_that_are_too_small_or_too_large(small, tmp_path):
    net, settings, _ = small
    settings = dataclasses.replace(settings, weights="dram", dram_width=32)
    affine = schedules.affine(Compilation(net, settings))
    for words in (10, 100000):
        file = schedules.write_json(tmp_path / "s.json", {"ring": words})
        settings = dataclasses.replace(settings, schedule=file)
        with pytest.raises(GradcamError, match=f"a ring of {words} words cannot be: a tile and a burst take 43, all "):
            schedules.scheduled(affine, settings)
