"""Module paths of an exported graph: a name for every op, the feature map of a target layer.

A node's `nn_module_stack` maps a key for every enclosing module call to its path. The key tells calls apart: the second
call of a shared `relu` has the key `...relu@1` and the path `layer1.0.relu`.
"""

from __future__ import annotations

import difflib
import logging
import operator
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, fx, library

from gradcam.errors import GradcamError

_log = logging.getLogger(__name__)

#: Key of the unique name in a node's `meta`.
NAME = "gradcam_name"

_WRITTEN_AS = {
    "native_batch_norm_legit_no_training": "batch_norm",
    "native_batch_norm_legit_functional": "batch_norm",
    "native_dropout": "dropout",
    "view": "flatten",
}


@library.custom_op("gradcam::target", mutates_args=())
def target(x: Tensor, path: str) -> Tensor:
    """Marks a feature map (1xCxHxW) as the output of the module `path`; the value is `x`."""
    return x.clone()


@target.register_fake
def _(x: Tensor, path: str) -> Tensor:
    return torch.empty_like(x)


class Calls:
    """The module calls of a graph.

    Attributes:
        graph: the graph.
        nodes: the ops of each call, by the call's key, in program order; those of inner calls included.
        paths: the module path of each call; "" for the model itself.
    """

    def __init__(self, graph: fx.Graph) -> None:
        self.graph = graph
        self.nodes: dict[str, list[fx.Node]] = {}
        self.paths: dict[str, str] = {}
        for node in _ops(graph):
            for key, (path, _) in _stack(node).items():
                self.nodes.setdefault(key, []).append(node)
                self.paths[key] = path

    def path(self, node: fx.Node) -> str:
        """Path of the innermost module that `node` belongs to; "" where none is known."""
        return next((path for path, _ in reversed(_stack(node).values())), "")

    def leaf(self, node: fx.Node) -> bool:
        """Whether `node` is the only op of the innermost call around it."""
        key = next(reversed(_stack(node)), None)
        return key is not None and sum(n.target is not operator.getitem for n in self.nodes[key]) == 1

    def of(self, path: str) -> list[str]:
        """Keys of the calls of the module `path`, in program order."""
        return [key for key, found in self.paths.items() if found == path]

    def outputs(self, key: str) -> list[fx.Node]:
        """The outputs of a call: its nodes that nodes outside of the call read."""
        inside = set(self.nodes[key])
        return [node for node in self.nodes[key] if any(user not in inside for user in node.users)]


def name_nodes(calls: Calls) -> None:
    """Gives every op of the graph a unique name: the path of its module, and the op's name if that has several ops."""
    taken: set[str] = set()
    modules = set(calls.paths.values())
    for node in _ops(calls.graph):
        path = calls.path(node)
        if calls.leaf(node) and path:
            name = path
        else:
            name = ".".join(filter(None, (path, _op_name(node))))
            taken |= {name} & modules  # the plain name belongs to the module
        node.meta[NAME] = _unique(name, taken)


def feature_maps(calls: Calls) -> list[str]:
    """Paths of the modules whose output is one feature map (1xCxHxW), in program order of their last call."""
    last = {path: calls.of(path)[-1] for path in calls.paths.values() if path}
    return [path for path, key in last.items() if len(out := calls.outputs(key)) == 1 and _rank(out[0]) == 4]


def mark_targets(calls: Calls, paths: Sequence[str]) -> list[GradcamError]:
    """Marks every target layer in `paths`; returns the faults of those that cannot be marked."""
    faults = []
    for i, path in enumerate(paths):
        try:
            if path in paths[:i]:
                raise GradcamError(f"target layer '{path}' is named twice")
            mark_target(calls, path)
        except GradcamError as error:
            faults.append(error)
    return faults


def mark_target(calls: Calls, path: str) -> None:
    """Puts a `gradcam::target` behind the output of the module `path`, of its last call when it is called repeatedly.

    Raises:
        GradcamError: the graph has no such module, or it does not give exactly one feature map.
    """
    if path not in (valid := feature_maps(calls)):
        raise GradcamError(f"target layer '{path}' {_reason(calls, path)}{_suggestion(path, valid)}")
    keys = calls.of(path)
    if len(keys) > 1:
        _log.warning("target layer '%s' is called %d times; its last call is explained", path, len(keys))
    (node,) = calls.outputs(keys[-1])
    with calls.graph.inserting_after(node):
        marker = calls.graph.call_function(torch.ops.gradcam.target.default, (node, path))
    marker.meta = {**node.meta, NAME: f"{path}.target"}
    node.replace_all_uses_with(marker, delete_user_cb=lambda user: user is not marker)


def _reason(calls: Calls, path: str) -> str:
    keys = calls.of(path)
    if not keys or not path:
        return "is not a module that leaves an op in the exported program"
    outputs = calls.outputs(keys[-1])
    if len(outputs) != 1:
        return f"gives {len(outputs)} tensors; it must give one feature map"
    return f"gives a tensor of {_rank(outputs[0])} dimensions; it must give a feature map, 1xCxHxW"


def _suggestion(path: str, valid: list[str]) -> str:
    close = difflib.get_close_matches(path, valid, n=3)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"{hint} (gradcam-import --list-layers lists all {len(valid)})"


def _ops(graph: fx.Graph) -> Iterator[fx.Node]:
    return (node for node in graph.nodes if node.op == "call_function")


def _stack(node: fx.Node) -> dict:
    return node.meta.get("nn_module_stack") or {}


def _rank(node: fx.Node) -> int | None:
    value = node.meta.get("val")
    return value.dim() if isinstance(value, Tensor) else None


def _op_name(node: fx.Node) -> str:
    """Name by what the user wrote: `add` for aten.add_.Tensor; a few ops have another name once functionalized."""
    name = node.target.__name__.partition(".")[0].strip("_")
    return _WRITTEN_AS.get(name, name)


def _unique(name: str, taken: set[str]) -> str:
    found, count = name, 0
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    taken.add(found)
    return found
