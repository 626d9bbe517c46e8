"""What a model does to its gradients by other means than its ops: detach, torch.no_grad, autograd functions, hooks.

The backward pass is derived from the ops of the forward pass, which are the same with and without these.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence

import torch
from torch import fx, nn
from torch_mlir import ir

from gradcam.errors import GradcamError, fail
from gradcam.frontend.layers import NAME, Calls

_log = logging.getLogger(__name__)

_DETACH = torch.ops.aten.detach.default
_STOP = (
    "reads a value through detach or under torch.no_grad, where torch.autograd stops the gradient of the target layer; "
    "take this out of forward, explain a layer behind it, or explain none"
)


@contextlib.contextmanager
def no_grad_as_detach(program: torch.export.ExportedProgram) -> Iterator[None]:
    """Puts a detach before each activation that a region under `torch.no_grad` reads, and takes it out at the end.

    Decomposing a program dissolves the regions; the gradients stay those of the model.
    """
    modules = [m for m in program.graph_module.modules() if isinstance(m, fx.GraphModule)]
    inserted = [(module, node) for module in modules for node in _detach_regions(module.graph)]
    try:
        yield
    finally:
        for module, node in inserted:
            node.replace_all_uses_with(node.all_input_nodes[0])
            module.graph.erase_node(node)


def _detach_regions(graph: fx.Graph) -> Iterator[fx.Node]:
    """Puts a detach before each activation that a region without gradients reads; the nodes."""
    for region in list(graph.find_nodes(op="call_function", target=torch.ops.higher_order.wrap_with_set_grad_enabled)):
        enabled, _, *operands = region.args
        for operand in dict.fromkeys(operands if not enabled else ()):
            if isinstance(operand, fx.Node) and operand.op == "call_function":
                with graph.inserting_before(region):
                    node = graph.call_function(_DETACH, (operand,))
                node.meta = {"val": operand.meta["val"]}
                region.replace_input_with(operand, node)
                yield node


def stopped_gradients(calls: Calls, context: ir.Context) -> list[GradcamError]:
    """Faults for the readers of what is computed from a target layer and then detached, once the targets are marked."""
    explained: set[fx.Node] = set()
    faults = []
    for node in calls.graph.nodes:
        if node.target is torch.ops.gradcam.target.default or not explained.isdisjoint(node.all_input_nodes):
            explained.add(node)
            if node.target is _DETACH:
                reader = next(iter(node.users))
                name = reader.meta.get(NAME, "the output")
                faults.append(fail(ir.Location.name(name, context=context), _STOP))
    return faults


@contextlib.contextmanager
def functions_seen() -> Iterator[list[str]]:
    """Collects the names of the `torch.autograd.Function`s, others than PyTorch's own, that run in the block."""
    original, found = torch.autograd.Function.__dict__["apply"], list[str]()

    def apply(cls: type, *args: object, **kwargs: object) -> object:
        if not cls.__module__.startswith("torch."):
            found.append(cls.__name__)
        return original.__func__(cls, *args, **kwargs)

    torch.autograd.Function.apply = classmethod(apply)
    try:
        yield found
    finally:
        torch.autograd.Function.apply = original


def tell_ignored(model: nn.Module | torch.export.ExportedProgram, functions: Sequence[str]) -> None:
    """Says that backward passes of autograd functions and backward hooks, which no op shows, are not used.

    Args:
        model: the model.
        functions: what `functions_seen` found while the model was traced.
    """
    for name in dict.fromkeys(functions):
        _log.warning(
            "the backward pass of the autograd function %s is not used: gradients are those of its forward", name
        )
    modules = model.named_modules() if isinstance(model, nn.Module) else ()
    if hooked := [name for name, m in modules if m._backward_hooks or m._backward_pre_hooks]:
        more = f" and of {len(hooked) - 1} more" if len(hooked) > 1 else ""
        _log.warning(
            "the backward hooks of '%s'%s are not used: gradients are those of the forward pass", hooked[0], more
        )
