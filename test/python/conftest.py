"""Settings and fixtures of all test files."""

import pytest
import torch

torch.set_num_threads(1)  # the test processes share the cores


@pytest.fixture
def context():
    """A context with the project's dialect, entered together with an unknown location."""
    from torch_mlir import ir

    from gradcam.dialect import make_context

    with make_context() as made, ir.Location.unknown():
        yield made
