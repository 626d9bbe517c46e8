"""A pointwise convolution beside the depthwise one that it reads: both with the rows of their maps outermost."""

import dataclasses

import dram_checks
from overlap_checks import assert_is_caught, open_early, program_of
from rtl_checks import check_design
from rtl_networks import Network, design
from torch import nn

from gradcam.output import compile_to_folder
from gradcam.schema.schedule import read_schedule


def depthwise_first() -> Network:
    """Two depthwise convolutions, each with a pointwise one behind it; the image is kept whole before the first one."""
    net = Network(3, 9, 10, seed=5)
    x = net.add(nn.ReLU(), net.conv(0, 8, 1, 1, 0))
    for out in (8, 12):
        y = net.add(nn.ReLU6(), net.conv(x, net.channels(x), 3, 1, 1, groups=net.channels(x)))
        x = net.add(nn.ReLU(), net.conv(y, out, 1, 1, 0))
    net.explain(x)
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(3)


def pairs(folder) -> list[tuple[str, str]]:
    """The engines of the producers and their followers."""
    nests = program_of(folder).nests
    return [(nests[nest.follows].engine, nest.engine) for nest in nests if nest.follows is not None]


def test_rows_are_outermost_where_that_hides_more(tmp_path):
    net, folder = depthwise_first(), tmp_path / "design"
    design(net, "4x4", folder)
    assert ("depthwise", "mac") in pairs(folder)
    chosen = read_schedule(str(folder / "schedule.json")).nests
    assert [chosen[name].loops[:3] for name in ("layers.4", "layers.6")] == [("y", "oc", "x"), ("y", "oc", "x/5")]
    check_design(net, folder)


def test_a_schedule_that_names_the_loops_is_obeyed(tmp_path):
    """Channel tile by channel tile the last channels of the whole map are waited for, so nothing would be hidden."""
    net, folder, file = depthwise_first(), tmp_path / "design", tmp_path / "asked.json"
    loops = '{"loops": ["oc", "y", "x", "ky", "kx", "d5"]}'
    file.write_text(f'{{"nests": {{"layers.4": {loops}, "layers.8": {loops}}}}}')
    compile_to_folder(net, "test", dataclasses.replace(net.settings("4x4"), schedule=file), folder)
    assert ("depthwise", "mac") not in pairs(folder)


def test_weights_from_dram_are_not_read_row_by_row(tmp_path):
    """All weights of a pointwise layer would have to stay on chip."""
    net, folder = depthwise_first(), tmp_path / "design"
    dram_checks.check_design(net, dram_checks.from_dram(net.settings("4x4"), 8, 2), folder)
    nests = program_of(folder).nests
    # A third nest, on the engine of the first one, may read more weights again.
    first = [nest.follows for nest in nests if nest.follows is not None and nests[nest.follows].follows is None]
    assert not [number for number in first if nests[number].engine == "depthwise"]


def test_a_nest_that_starts_early_gives_wrong_outputs(tmp_path, monkeypatch):
    assert_is_caught(open_early, depthwise_first(), tmp_path / "design", monkeypatch)


def strided_stem() -> Network:
    """A stem with two tiles of output channels, a pool, and a convolution that keeps more weights than the stem has."""
    net = Network(3, 12, 12, seed=6)
    x = net.add(nn.ReLU(), net.conv(0, 8, 1, 2, 0))
    x = net.add(nn.MaxPool2d(2), x)
    net.explain(net.add(nn.ReLU(), net.conv(x, 8, 3, 1, 1)))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(3)


def test_a_chain_gets_its_rows_outermost_where_no_more_weights_are_kept(tmp_path):
    """The stem need not wait for the whole image in its first tile, nor the pool for the last tile of the stem."""
    net, folder = strided_stem(), tmp_path / "design"
    dram_checks.check_design(net, dram_checks.from_dram(net.settings("4x4"), 8, 2), folder)
    assert pairs(folder)[:2] == [("load", "mac"), ("mac", "max")]
    _, stem, pool, *_ = read_schedule(str(folder / "schedule.json")).nests.values()
    assert (stem.loops[0], pool.loops[0]) == ("y", "y"), "not oc"
