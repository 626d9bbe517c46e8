"""State dicts from files: weights for a model that was made without them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gradcam.errors import GradcamError
from gradcam.model_files import WITH_STATE, advice, kind_of
from gradcam.outside import outside

_log = logging.getLogger(__name__)

#: The names under which training scripts keep the state dict in a checkpoint.
KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params")


def load_state(model: nn.Module, path: str | Path) -> None:
    """Loads a file's state dict into `model`, whose names and shapes it must have exactly.

    Floating-point tensors may have any precision. The counters `num_batches_tracked`, which PyTorch has since 0.4.1,
    may be missing: nothing reads them in eval mode. A prefix that all names have and no name of the model has, such as
    the `module.` of `nn.DataParallel`, is left out, and a warning says so.

    Args:
        model: gets the values; its mode stays as it is.
        path: a `.safetensors` file, or one that `torch.save` wrote, which is read with `weights_only=True`: a state
            dict, or a checkpoint with one under a name of `KEYS`.

    Raises:
        GradcamError: the file is missing or holds no state dict, has other names or shapes than the model, or a tensor
            that is no parameter: sparse, quantized, without values, or of another kind of number.
    """
    wanted = model.state_dict()
    found, key = read_state(Path(path))
    if key:
        _log.warning("%s is a checkpoint; its state dict under '%s' is taken", path, key)
    state = _without_prefix(found, wanted, path)
    missing = [k for k in wanted if k not in state and not k.endswith(".num_batches_tracked")]
    unexpected = [k for k in state if k not in wanted]
    faults = [f"{what} {_some(names)}" for what, names in (("missing", missing), ("unexpected", unexpected)) if names]
    unusable = {k: why for k in wanted if k in state and (why := _unusable(state[k], wanted[k]))}
    if unusable:
        faults.append(f"{_some(list(unusable))} {next(iter(unusable.values()))}")
    if faults:
        raise GradcamError(f"{path} does not hold the parameters of {type(model).__name__}: {'; '.join(faults)}")
    values = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    with outside(f"{type(model).__name__} does not take the state dict {path}"):
        model.load_state_dict(wanted | values)


def read_state(path: Path) -> tuple[Mapping[str, torch.Tensor], str]:
    """Reads the state dict of a file, see `load_state`, and the name under which a checkpoint has it, "" for none.

    Raises:
        GradcamError: the file cannot be read, or holds no state dict.
    """
    kind = kind_of(path, "weights")
    if kind == "program":
        raise GradcamError(f"{path} is a program of torch.export, which has weights of its own; compile it by itself")
    if kind in ("script", "ONNX"):
        raise GradcamError(advice(path, kind))
    with outside(f"cannot read weights {path}"):
        if path.suffix == ".safetensors" or kind == "safetensors":
            from safetensors.torch import load_file

            return load_file(path), ""
        try:
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # any other file is taken for a pickle, and ends in errors of any type
            raise GradcamError(_why_not(path)) from error  # what torch says advises to trust the file
    return _state(path, found)


def _why_not(path: Path) -> str:
    """The reason why `torch.load` with `weights_only=True` does not read a file, and the remedy."""
    try:
        classes = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # it reads the newer of torch.save's two formats only
        classes = []
    if any(name.startswith("torch.nn.") for name in classes):
        return f"{path} holds a pickled module, and unpickling one runs code; {WITH_STATE}"
    if classes:
        remedy = "save its state dict alone by torch.save"
        return f"{path} holds objects of {_some(classes)} beside tensors, and unpickling them runs code; {remedy}"
    return f"cannot read weights {path}: torch.load takes no plain tensors from it"


def _state(path: Path, found: Any) -> tuple[Mapping[str, torch.Tensor], str]:
    """The state dict in what a file holds: all of it, or what stands under one of the usual names; and that name."""
    if _is_state(found):
        return found, ""
    inner = [key for key in KEYS if isinstance(found, Mapping) and key in found and _is_state(found[key])]
    if len(inner) > 1:
        raise GradcamError(
            f"{path} holds a state dict under each of {', '.join(inner)}; save the one that counts alone"
        )
    if not inner:
        names = f", alone or under {', '.join(KEYS[:-1])} or {KEYS[-1]}"
        raise GradcamError(f"{path} holds no state dict: it must map names to tensors{names}")
    return found[inner[0]], inner[0]


def _is_state(found: Any) -> bool:
    return isinstance(found, Mapping) and all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found.items()
    )


def _without_prefix(
    state: Mapping[str, torch.Tensor], wanted: Mapping[str, Any], path: str | Path
) -> Mapping[str, torch.Tensor]:
    """The state without a prefix of all its names, where the model knows the names only without it."""
    prefix = ""
    while state and not any(name.removeprefix(prefix) in wanted for name in state):
        first, dot, _ = next(iter(state)).removeprefix(prefix).partition(".")
        prefix += first + dot
        if not dot or not all(name.startswith(prefix) for name in state):
            return state
    if prefix:
        _log.warning("the names in %s begin with '%s', which is left out", path, prefix)
    return {name.removeprefix(prefix): value for name, value in state.items()}


def _unusable(value: torch.Tensor, wanted: torch.Tensor) -> str:
    """Why a tensor cannot be the value of a parameter or buffer; "" where it can."""
    if value.is_meta:
        return "without values (on the device meta)"
    if value.layout != torch.strided:
        return f"of the sparse layout {str(value.layout).removeprefix('torch.')}; save it after .to_dense()"
    if value.shape != wanted.shape:
        return f"of another shape: {_shape(value)}, expected {_shape(wanted)}"
    if _number(value) != _number(wanted):
        return f"of {_number(value)}s ({str(value.dtype).removeprefix('torch.')}), expected {_number(wanted)}s"
    return ""


def _number(tensor: torch.Tensor) -> str:
    """The kind of number that a tensor holds."""
    if tensor.is_quantized:
        return "quantized number"
    if tensor.dtype == torch.bool:
        return "truth value"
    if tensor.is_complex():
        return "complex number"
    return "floating-point number" if tensor.is_floating_point() else "integer"


def _some(names: Sequence[str]) -> str:
    return f"'{names[0]}'" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single value"
