"""A model as a functional `torch.export` program of its own: batch size 1, static shapes, nothing written in place."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch_mlir import ir

from gradcam.errors import GradcamError, fail
from gradcam.frontend.layers import Calls
from gradcam.frontend.loading import describe

_BATCH_NORM_TRAINING = torch.ops.aten._native_batch_norm_legit_functional.default


def functional_program(
    model: nn.Module | torch.export.ExportedProgram, input_shape: Sequence[int] | None
) -> torch.export.ExportedProgram:
    """Exports `model` and rewrites ops that write in place to ops that do not; composite ops stay whole.

    Returns:
        A program that shares tensors with the model but no graph: it may be edited.

    Raises:
        GradcamError: the input shape is missing or wrong, or `torch.export` fails.
    """
    if not isinstance(model, (nn.Module, torch.export.ExportedProgram)):
        raise GradcamError(f"expected an nn.Module or an exported program, got {type(model).__name__}")
    with _quiet():
        if isinstance(model, nn.Module):
            model = _export(model, _checked_shape(model, input_shape))
        elif input_shape is not None:
            _check_program_shape(model, input_shape)
        try:
            return model.run_decompositions({})
        except Exception as error:
            raise GradcamError(f"torch.export cannot functionalize the program: {describe(error)}") from error


def mutation_faults(program: torch.export.ExportedProgram, calls: Calls, context: ir.Context) -> list[GradcamError]:
    """Faults for buffers that the forward pass writes, except for those of a batch norm in training mode.

    Such a batch norm is refused by the conversion of the op.
    """
    training = {calls.path(node) for node in program.graph.nodes if node.target == _BATCH_NORM_TRAINING}
    return [
        fail(ir.Location.name(buffer, context=context), "forward writes this buffer, which is not supported")
        for buffer in program.graph_signature.buffers_to_mutate.values()
        if buffer.rpartition(".")[0] not in training
    ]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses PyTorch's messages during an export.

    PyTorch warns about its own helpers, and before it raises it logs tracebacks and prints the graph; the exception has
    the same information. The output of user code is printed once the export has succeeded.
    """
    disabled, printed = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.disable(disabled)
    sys.stderr.write(printed.getvalue())


def _export(model: nn.Module, shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    image = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
    try:
        return torch.export.export(model, (image,), strict=False)
    except Exception as error:  # forward is user code: it can raise anything
        raise GradcamError(f"torch.export cannot trace the model: {describe(error)}") from error


def _checked_shape(model: nn.Module, shape: Sequence[int] | None) -> tuple[int, ...]:
    shape = getattr(model, "input_shape", None) if shape is None else shape
    if shape is None:
        raise GradcamError("the input shape is not known: give one, or set the module's attribute input_shape")
    if len(shape) != 4 or any(not isinstance(n, int) or n < 1 for n in shape):
        raise GradcamError(f"the input shape must be 1,C,H,W, got {','.join(map(str, shape))}")
    if shape[0] != 1:
        raise GradcamError(f"the input shape {','.join(map(str, shape))} has batch size {shape[0]}; it must be 1")
    return tuple(shape)


def _check_program_shape(program: torch.export.ExportedProgram, shape: Sequence[int]) -> None:
    inputs = program.graph_signature.user_inputs
    found = [tuple(n.meta["val"].shape) for n in program.graph.nodes if n.op == "placeholder" and n.name in inputs]
    if found != [tuple(shape)]:
        raise GradcamError(f"the program was exported for the input shapes {found}, not for {tuple(shape)}")
