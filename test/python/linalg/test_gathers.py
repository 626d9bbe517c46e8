"""The walks of gathers: which words of a map they read, in how many steps, and what they sum up."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from channel_networks import NETWORKS, moved
from dram_checks import check_design, from_dram
from hypothesis import given
from hypothesis import settings as search
from hypothesis import strategies as st
from rtl_networks import Network

from gradcam.compiler import Compilation, Settings
from gradcam.passes.linalg.gathers import STEPS_OF_A_NEST, Walk, walks
from gradcam.passes.linalg.words import Words, covers
from gradcam.passes.program.scheduled_program import ScheduledProgram

LANES = 4


def needed(order: list[int], lanes: int = LANES) -> list[int]:
    """The words that each output tile of a gather needs, a bit each."""
    tiles = [order[n : n + lanes] for n in range(0, len(order), lanes)]
    return [sum({1 << c // lanes for c in tile}) for tile in tiles]


def read(walk: Walk) -> dict[int, list[int]]:
    """The words that a walk reads for each output tile."""
    found: dict[int, list[int]] = {}
    for block, tile, segment, place in np.ndindex(walk.blocks, walk.tiles, walk.words.segments, walk.words.width):
        found.setdefault(walk.start + block * walk.tiles + tile, []).append(walk.word(block, tile, segment, place))
    return found


def shuffled(groups: int, channels: int) -> list[int]:
    return np.arange(channels).reshape(groups, -1).T.reshape(-1).tolist()


@pytest.mark.parametrize(
    ("order", "number"),
    [
        (shuffled(2, 32), 1),
        (shuffled(4, 64), 1),
        (list(range(31, -1, -1)), 1),
        (list(range(1, 64, 2)), 1),
        (list(range(2, 30)), 1),
        (np.argsort(shuffled(2, 32)).tolist(), 1),
        (np.argsort(shuffled(4, 64)).tolist(), 1),
        (shuffled(2, 40)[:20], 2),  # five tiles, and blocks of two
    ],
)
def test_regular_orders_are_walked_without_a_step_too_many(order, number):
    masks = needed(order)
    found = walks(masks, 16, 1000)
    assert len(found) == number
    assert sum(w.steps for w in found) == sum(mask.bit_count() for mask in masks)


def test_the_walk_of_a_shuffle_by_hand():
    """Of two maps of 4 words, output tile t takes words t / 2 and 4 + t / 2."""
    (walk,) = walks(needed(shuffled(2, 32)), 8, 1000)
    assert walk == Walk(start=0, blocks=4, tiles=2, per_block=1, per_tile=0, words=Words(0, 2, 4, 1))
    assert read(walk) == {t: [t // 2, 4 + t // 2] for t in range(8)}


def test_a_nest_must_save_its_steps():
    """One tile of four needs a second word: a nest of its own saves three steps for each position."""
    masks = [0b1, 0b1, 0b1, 0b11]
    assert [w.steps for w in walks(masks, 8, (STEPS_OF_A_NEST - 1) // 3)] == [8]
    assert [w.steps for w in walks(masks, 8, STEPS_OF_A_NEST)] == [3, 2]


@search(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, (1 << 9) - 1), min_size=1, max_size=9), st.sampled_from([1, 2]), st.integers(1, 200))
def test_any_table_is_walked(masks, unit, positions):
    """Every output tile is summed over each word that it needs once; never in more steps than the words there are."""
    found = walks(masks, 9, positions, unit)
    assert [w.start for w in found] == [0, *(w.end for w in found[:-1])] and found[-1].end == len(masks)
    assert all(w.start % unit == 0 for w in found)
    for tile, words in (item for walk in found for item in read(walk).items()):
        assert len(set(words)) == len(words) and min(words) >= 0 and max(words) < 9
        assert not masks[tile] & ~sum(1 << w for w in words)
    assert sum(w.steps for w in found) <= len(masks) * 9


@given(st.sets(st.integers(0, 40), min_size=1))
def test_any_words_are_in_segments(members):
    """The words of the set have their numbers in it, and none is left out."""
    for found in covers(sum(1 << n for n in members)):
        every = [found.first + s * found.apart + p for s in range(found.segments) for p in range(found.width)]
        assert members <= set(every) and every[-1] == found.last and len(every) == found.number
        assert [found.numbered(word) for word in every] == list(range(found.number))
        halves = found.in_tiles(2)
        assert halves.first == 2 * found.first and halves.last == 2 * found.last + 1


def test_words_in_segments_by_hand():
    assert covers(0b1110_0011_1000_0000)[-1] == Words(7, 2, 6, 3)
    assert covers(0b1_0000_0110)[-1] == Words(1, 2, 6, 2), "the last segment begins a word earlier"
    assert covers(0b1011) == [Words(0, 1, 0, 4)], "three words are no segments of fewer than four"


def steps(net: Network, target: str, pe: str) -> dict[str, int]:
    """The steps of all nests of each name."""
    found: Counter[str] = Counter()
    module = Compilation(net, Settings(target, pe=pe, validate=False)).to("scheduled")
    for nest in ScheduledProgram.of(module).nests:
        found[nest.name] += nest.steps
    return found


def test_a_gather_takes_the_words_that_it_needs():
    """36 channels of 5x4 positions, 9 words: a shuffle of 3 groups needs 3 of them for each, a flip one."""
    found = steps(moved(), "layers.5", "4x4")
    assert found["layers.3"] == 9 * 3 * 20 and found["layers.6.index"] == 9 * 20
    assert found["layers.9.index"] == (4 * 2 + 1) * 20, "every second channel: two words, and one for the last tile"
    assert found["layers.9.index.adjoint"] == 9 * 20, "two tiles of the gradient for each word"


def test_a_convolution_leaves_out_words_that_it_does_not_need():
    """The second half of a shuffle of 2 maps of 5 words: words 2 to 4 of each, for 5 output tiles, and backward."""
    found = steps(NETWORKS["wide shuffled"][0](), "layers.2", "4x4")
    assert found["layers.14"] == found["layers.13.adjoint.parts"] == 5 * 6 * 56


def test_gathers_with_weights_in_dram(tmp_path):
    check_design(moved(), from_dram(Settings("layers.5", pe="4x4", range_choice="max"), 32), tmp_path / "design")
