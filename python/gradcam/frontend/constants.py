"""Constants that a model computes from its weights, such as standardized or merged kernels, computed once here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import fx

#: Attributes of the graph's module that hold the constants.
_NAME = "gradcam_constant"


def fold_constants(program: torch.export.ExportedProgram) -> None:
    """Replaces what a program computes from weights and numbers alone by constants, in place; PyTorch computes them.

    Only f32 results become constants: of other ops the conversion says what it takes.
    """
    graph, known = program.graph, _weights(program)
    for node in graph.nodes:
        if node.op == "get_attr":
            known[node] = _attribute(program.graph_module, str(node.target))
        elif _is_computable(node) and all(n in known for n in node.all_input_nodes):
            known[node] = _computed(node, known)
    count = 0
    for node in [n for n in known if n.op == "call_function" and _is_f32(known[n])]:
        readers = [user for user in node.users if user not in known and user.op == "call_function"]
        if readers:
            name, count = f"{_NAME}{count}", count + 1
            setattr(program.graph_module, name, known[node])
            with graph.inserting_before(node):
                constant = graph.create_node("get_attr", name)
            constant.meta = dict(node.meta)
            for reader in readers:
                reader.replace_input_with(node, constant)
    _erase_unread(graph, known)


def _weights(program: torch.export.ExportedProgram) -> dict[fx.Node, Any]:
    """Parameters, buffers and other constant tensors by their placeholders."""
    signature = program.graph_signature
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    tensors = {**program.constants, **program.state_dict}
    placeholders = [n for n in program.graph.nodes if n.op == "placeholder" and n.name in names]
    return {n: tensors[names[n.name]] for n in placeholders if names[n.name] in tensors}


def _attribute(module: fx.GraphModule, target: str) -> Any:
    found: Any = module
    for part in target.split("."):
        found = getattr(found, part)
    return found


def _is_computable(node: fx.Node) -> bool:
    """Whether a node is a function of its arguments alone."""
    target: Any = node.target
    if node.op != "call_function" or isinstance(target, torch._ops.HigherOrderOperator):
        return False
    return torch.Tag.nondeterministic_seeded not in getattr(target, "tags", ())


def _computed(node: fx.Node, known: dict[fx.Node, Any]) -> Any:
    arguments = fx.map_arg((node.args, node.kwargs), lambda n: known[n])
    args, kwargs = arguments  # type: ignore[misc] a pair, as given
    with torch.no_grad():
        return node.target(*args, **kwargs)  # type: ignore[operator] of call_function


def _is_f32(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.float32


def _erase_unread(graph: fx.Graph, nodes: Iterable[fx.Node]) -> None:
    for node in reversed(list(nodes)):
        if node.op == "call_function" and not node.users:
            graph.erase_node(node)
