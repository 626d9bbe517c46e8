"""Epilogues that few results need are nests beside the array."""

import numpy as np
import pytest
from deeper_targets import network, settings

from gradcam.compiler import Compilation
from gradcam.jit import run_affine
from gradcam.passes.program.engines import engine_name
from gradcam.passes.program.nest import read_nests
from gradcam.passes.schedule import rare_epilogues
from gradcam.reference.integer import run_integer


def scheduled(target):
    return Compilation(network(), settings(target, "gradcam", "4x4")).to("scheduled")


def stored_sums(module):
    """The nests on the array that store sums as they are, for an epilogue that is set apart."""
    with module.context:
        return [n.name for n in read_nests(module) if engine_name(n) == "mac" and n.name.endswith(".sums")]


def arithmetic(module):
    """The ops that the epilogues of the array compute."""
    with module.context:
        nests = [n for n in read_nests(module) if engine_name(n) == "mac"]
        return {node.kind for nest in nests for node in nest.epilogue.nodes}


@pytest.mark.parametrize("target", ["stem", "block"])
def test_a_rare_epilogue_is_set_apart_and_computes_the_same(target):
    module, quantized = scheduled(target), Compilation(network(), settings(target, "gradcam", "4x4")).to("quantized")
    assert stored_sums(module)
    rng = np.random.default_rng(0)
    image = rng.integers(-128, 128, np.shape(network().calibration_images[0])).astype(np.int8)
    expected = run_integer(quantized, image[None])
    got = run_affine(module, np.ascontiguousarray(image.transpose(1, 2, 0)), np.array([-1], np.int32))
    for mine, theirs in zip(got[:2], expected, strict=True):
        assert np.array_equal(mine, theirs[0])


def test_none_is_set_apart_where_no_step_may_be_added(monkeypatch):
    """The negative of the test above; the array then computes in its epilogues what is a nest of its own else."""
    with_some = arithmetic(scheduled("block"))
    monkeypatch.setattr(rare_epilogues, "GROWTH", 0)
    without = scheduled("block")
    assert not stored_sums(without)
    assert arithmetic(without) > with_some
