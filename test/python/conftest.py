"""Settings and fixtures of all test files."""

import logging

import pytest
import torch

torch.set_num_threads(1)  # the test processes share the cores


@pytest.fixture(autouse=True)
def _warnings_are_logged():
    """Each test begins with Python's own levels, whatever a library in the same process has set."""
    logging.disable(logging.NOTSET)
    logging.root.setLevel(logging.WARNING)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.partition(".")[0] == "gradcam" and isinstance(logger, logging.Logger):
            logger.disabled = False
            logger.setLevel(logging.NOTSET)


@pytest.fixture
def context():
    """A context with the project's dialect, entered together with an unknown location."""
    from torch_mlir import ir

    from gradcam.dialect import make_context

    with make_context() as made, ir.Location.unknown():
        yield made
