"""Module paths of an exported graph: a name for every op, the feature map of a target layer.

A node's `nn_module_stack` maps a key for every enclosing module call to its path. The key tells calls apart: the second
call of a shared `relu` has the key `...relu@1` and the path `layer1.0.relu`.
"""

from __future__ import annotations

import difflib
import logging
import operator
import re
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, fx, library, nn

from gradcam.errors import GradcamError

_log = logging.getLogger(__name__)

#: Key of the unique name in a node's `meta`.
NAME = "gradcam_name"

#: The attributes under which torch.compile and nn.DataParallel keep the model that they wrap.
_WRAPPERS = ("_orig_mod", "module")

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


class TargetError(GradcamError):
    """A target layer that does not exist, or that gives no feature map."""


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

    def names(self) -> dict[str, str]:
        """Keys of the calls by the names of target layers: `relu`, or `relu@0` and `relu@1` if called twice."""
        found = dict[str, str]()
        for path in dict.fromkeys(path for path in self.paths.values() if path):
            keys = self.of(path)
            found |= {path: keys[0]} if len(keys) == 1 else {f"{path}@{i}": key for i, key in enumerate(keys)}
        return found

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
        node.meta[NAME] = unique(name, taken)


def feature_maps(calls: Calls) -> list[str]:
    """Names of the calls whose output is one feature map (1xCxHxW), in program order of the first call of a module."""
    return [name for name, key in calls.names().items() if len(out := calls.outputs(key)) == 1 and _rank(out[0]) == 4]


def written_names(calls: Calls, names: Sequence[str], model: nn.Module | None) -> tuple[str, ...]:
    """Target layers by the names that the graph has for them; a name that fits none stays as it is.

    They may be written as Python reaches the module, `model.layer4[-1]`, and by any of its names where it has several:
    the graph has one of them.

    Args:
        calls: the graph.
        names: the target layers.
        model: the module that the graph was exported from, if it is known.
    """
    modules = {} if model is None else dict(model.named_modules(remove_duplicate=False))
    in_graph = {id(modules[path]): path for path in calls.paths.values() if path in modules}
    return tuple(_written_name(name, set(calls.paths.values()), modules, in_graph) for name in names)


def _written_name(name: str, graph: set[str], modules: Mapping[str, nn.Module], in_graph: Mapping[int, str]) -> str:
    path, at, call = name.partition("@")
    known = (graph | modules.keys()) - {""}  # of the model itself
    path = path if path in known else _as_path(path, known)
    if path not in known:
        return name
    return (path if path in graph else in_graph.get(id(modules[path]), path)) + at + call


def _as_path(text: str, known: set[str]) -> str:
    """`model.layer4[-1].conv2` as `layer4.1.conv2`."""
    parts = re.sub(r"\[(-?\d+)\]", r".\1", text).split(".")
    if parts[0] in ("model", "module", "net", "self") and parts[0] not in known:
        parts = parts[1:]
    if parts and parts[0] not in known:
        parts = next(([wrapper, *parts] for wrapper in _WRAPPERS if f"{wrapper}.{parts[0]}" in known), parts)
    for i, part in enumerate(parts):
        if re.fullmatch(r"-\d+", part):
            before = "".join(f"{p}." for p in parts[:i])
            inner = {path.removeprefix(before).partition(".")[0] for path in known if path.startswith(before)}
            parts[i] = str(sum(name.isdigit() for name in inner) + int(part))
    return ".".join(parts)


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
    """Puts a `gradcam::target` behind the output of a module, or of a call; of several calls, behind the last.

    Raises:
        GradcamError: the graph has no such module or call, or it does not give exactly one feature map.
    """
    keys = calls.of(path)
    name = f"{path}@{len(keys) - 1}" if len(keys) > 1 else path
    if name not in (valid := feature_maps(calls)):
        raise TargetError(f"target layer '{path}' {_reason(calls, name)}{suggestion(path, valid)}")
    if name != path:
        _log.warning(
            "target layer '%s' is ambiguous, called %d times; the last call is explained, '%s'; the first is '%s@0'",
            *(path, len(keys), name, path),
        )
    (node,) = calls.outputs(calls.names()[name])
    with calls.graph.inserting_after(node):
        marker = calls.graph.call_function(torch.ops.gradcam.target.default, (node, path))
    marker.meta = {**node.meta, NAME: f"{path}.target"}
    node.replace_all_uses_with(marker, delete_user_cb=lambda user: user is not marker)


def _reason(calls: Calls, name: str) -> str:
    if not calls.names():
        return "does not exist: the program names no module, as when forward runs under torch.no_grad"
    if name not in calls.names():
        path, _, call = name.partition("@")
        count = len(calls.of(path)) if path and call else 0
        return (
            f"does not exist: '{path}' is called {count} times"
            if count
            else "is not a module that leaves an op in the exported program"
        )
    outputs = calls.outputs(calls.names()[name])
    if len(outputs) != 1:
        return f"gives {len(outputs)} tensors; it must give one feature map"
    return f"gives a tensor of {_rank(outputs[0])} dimensions; it must give a feature map, 1xCxHxW"


def suggestion(path: str, valid: list[str]) -> str:
    """The end of the message about a target layer that is none of `valid`: near names, and how to list all."""
    lower = {name.lower(): name for name in reversed(valid)}
    close = [lower[name] for name in difflib.get_close_matches(path.lower(), lower, n=3)]
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"{hint} (gradcam-import --list-layers, or gradcam.frontend.target_layers, lists all {len(valid)})"


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


def unique(name: str, taken: set[str]) -> str:
    """The name, or with a number behind it where it is taken; it is added to those that are."""
    found, count = name, 0
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    taken.add(found)
    return found
