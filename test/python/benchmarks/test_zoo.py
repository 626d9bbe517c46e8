"""benchmarks/zoo.py: its table and its reasons, what a process that ends otherwise gives, and its choice of layers."""

from __future__ import annotations

import argparse

import torch
import zoo
import zoo_networks
from torch import nn

from gradcam.errors import GradcamError
from gradcam.faults import Faults

GOOD = zoo.Row("timm a", 64, "scheduled", "", "last", "earlier", 12345, 0.5, (0.001, 0.25))


def test_a_row_has_the_level_and_the_reason():
    stopped = zoo.Row("timm b", 64, "quantized", "x|y is not supported")
    good, bad = zoo.table([GOOD, stopped]).splitlines()[2:]
    assert [cell.strip() for cell in good.split(" | ")] == [
        "| timm a", "scheduled", "64", "12,345", "0.500", "0.0010", "0.2500 |",
    ]  # fmt: skip
    assert "quantized: x\\|y is not supported" in bad and bad.count(" - ") == 4


def test_faults_are_counted_without_their_places():
    faults = Faults([GradcamError("a is not supported"), *[GradcamError("b  is not\nsupported")] * 2])
    assert zoo.reason(faults) == "b is not supported (2 times); 1 more"


def test_a_process_that_fails_or_takes_too_long_gives_its_reason():
    options = argparse.Namespace(side=None, level="gradcam", pe="4x4", limit=60)
    unknown = zoo_networks.Network("none", "none", nn.Identity)
    assert "StopIteration" in zoo.in_process(unknown, options).reason
    options.limit = 0
    assert zoo.in_process(unknown, options).reason == "takes more than 0 s"


class Stages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 2, 3, 2), nn.Conv2d(2, 2, 3, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(self.two(self.one(x))).flatten(1)


def test_targets_are_the_last_layer_with_positions_and_the_last_larger_one():
    assert zoo_networks.targets(Stages(), ["one", "two", "pool"], (1, 1, 16, 16)) == ("two", "one")
    assert zoo_networks.targets(Stages(), ["two", "pool"], (1, 1, 16, 16)) == ("two", None)


def test_the_document_says_what_it_measures():
    options = argparse.Namespace(only=["a"], side=64, level="scheduled", pe="16x16")
    text = zoo.document([GOOD], 1, options)
    assert "1 of 1 networks reach level `scheduled` for an array of 16x16" in text
    assert "\npython benchmarks/zoo.py --only a --side 64 --level scheduled -o docs/networks.md\n" in text


def test_every_network_of_the_list_is_named_once():
    found = zoo_networks.networks()
    packages = [network.package for network in found]
    assert packages.count("torchvision") == 26 and packages.count("timm") == 40
    assert len({network.title for network in found}) == len(found)
