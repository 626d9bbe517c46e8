"""A model as a functional `torch.export` program of its own: batch size 1, static shapes, nothing written in place."""

from __future__ import annotations

import contextlib
import keyword
from collections.abc import Iterator, Sequence

import torch
from torch import fx, nn
from torch_mlir import ir

from gradcam.checks import checked_shape
from gradcam.errors import GradcamError, fail
from gradcam.frontend.constants import fold_constants
from gradcam.frontend.gradients import no_grad_as_detach
from gradcam.frontend.layers import Calls
from gradcam.frontend.quiet import quiet
from gradcam.outside import outside

_BATCH_NORM_TRAINING = torch.ops.aten._native_batch_norm_legit_functional.default


def functional_program(
    model: nn.Module | torch.export.ExportedProgram, input_shape: Sequence[int] | None
) -> torch.export.ExportedProgram:
    """Exports `model` and rewrites ops that write in place to ops that do not; composite ops stay whole.

    What is computed from weights alone becomes a constant.

    Returns:
        A program that shares tensors with the model but no graph: it may be edited.

    Raises:
        GradcamError: the input shape is missing or wrong, or `torch.export` fails.
    """
    if not isinstance(model, (nn.Module, torch.export.ExportedProgram)):
        raise GradcamError(f"expected an nn.Module or an exported program, got {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise GradcamError("torch.export makes no program of TorchScript; give the nn.Module that it was made from")
    with quiet(), _keywords_as_names():
        if isinstance(model, nn.Module):
            model = _export(model, _checked_shape(model, input_shape))
        elif isinstance(shape := _bound_shape(model, input_shape), tuple):
            model = _export(model.module(), shape)
        with outside("torch.export cannot functionalize the program"), no_grad_as_detach(model):
            program = model.run_decompositions({})
        with outside("PyTorch cannot compute a constant of the model"):
            fold_constants(program)
    return program


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
def _keywords_as_names() -> Iterator[None]:
    """Lets `torch.fx` write code for submodules that are named like keywords of Python, such as `class`.

    It writes `self.class` where `getattr(self, "class")` is needed, which is no Python.
    """
    original = fx.graph._format_target

    def format_target(base: str, target: str) -> str:
        for part in target.split("."):
            base = f'getattr({base}, "{part}")' if keyword.iskeyword(part) else original(base, part)
        return base

    fx.graph._format_target = format_target
    try:
        yield
    finally:
        fx.graph._format_target = original


def _export(model: nn.Module, shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    if weight.is_meta:
        raise GradcamError("the model's parameters have no values: they are on the device meta")
    image = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
    with outside("torch.export cannot trace the model"):
        return torch.export.export(model, (image,), strict=False)


def _checked_shape(model: nn.Module, shape: Sequence[int] | None) -> tuple[int, ...]:
    shape = getattr(model, "input_shape", None) if shape is None else shape
    if shape is None:
        raise GradcamError("the input shape is not known: give one, or set the module's attribute input_shape")
    return checked_shape(shape)


def _bound_shape(program: torch.export.ExportedProgram, shape: Sequence[int] | None) -> tuple[int, ...] | None:
    """The shape for which a program with dynamic sizes is exported anew: the batch is 1, other sizes those of `shape`.

    None where nothing is dynamic, or where the number of inputs is not 1, which the conversion refuses.
    """
    inputs = program.graph_signature.user_inputs
    found = [tuple(n.meta["val"].shape) for n in program.graph.nodes if n.op == "placeholder" and n.name in inputs]
    given = None if shape is None else tuple(shape)
    if given and (len(found) != 1 or len(found[0]) != len(given) or not all(map(_fits, found[0], given))):
        sizes = " and ".join(",".join(map(str, shape)) for shape in found)
        raise GradcamError(f"the program was exported for the input shape {sizes}, not for {','.join(map(str, given))}")
    if len(found) != 1 or all(isinstance(n, int) for n in found[0]):
        return None
    bound = given or tuple(n if isinstance(n, int) else 1 if i == 0 else 0 for i, n in enumerate(found[0]))
    if 0 in bound:
        raise GradcamError(f"the program takes the sizes {','.join(map(str, found[0]))}; give the input shape, 1,C,H,W")
    return bound


def _fits(size: int | torch.SymInt, given: int) -> bool:
    return not isinstance(size, int) or size == given
