"""Cores that are built once for all tests that a process runs."""

import pytest
from rtl_networks import last_layer, residual, sums
from simulated_core import make


@pytest.fixture(scope="session")
def onchip(tmp_path_factory):
    """A core with its weights on chip."""
    return make(sums(), tmp_path_factory.mktemp("onchip"))


@pytest.fixture(scope="session")
def resident(tmp_path_factory):
    """A core that loads its weights before the first run."""
    return make(residual(), tmp_path_factory.mktemp("resident"), weights="resident")


@pytest.fixture(scope="session")
def dram(tmp_path_factory):
    """A core with its weights in DRAM that explains two classes."""
    return make(last_layer(), tmp_path_factory.mktemp("dram"), weights="dram", top_k=2)
