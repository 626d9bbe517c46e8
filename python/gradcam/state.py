"""State dicts from files: weights for a model that was made without them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gradcam.errors import GradcamError


def load_state(model: nn.Module, path: str | Path) -> None:
    """Loads a file's state dict into `model`, whose names and shapes it must have exactly.

    Floating-point tensors may have any precision. The counters `num_batches_tracked`, which PyTorch has since 0.4.1,
    may be missing: nothing reads them in eval mode.

    Args:
        model: gets the values; its mode stays as it is.
        path: a `.safetensors` file, or one that `torch.save` wrote, which is read with `weights_only=True`.

    Raises:
        GradcamError: the file is missing or no state dict, or has other names or shapes than the model.
    """
    state, wanted = _read(Path(path)), model.state_dict()
    missing = [k for k in wanted if k not in state and not k.endswith(".num_batches_tracked")]
    unexpected = [k for k in state if k not in wanted]
    shapes = [k for k in wanted if k in state and state[k].shape != wanted[k].shape]
    faults = [f"{what} {_some(names)}" for what, names in (("missing", missing), ("unexpected", unexpected)) if names]
    if shapes:
        found, expected = (_shape(s[shapes[0]]) for s in (state, wanted))
        faults.append(f"{_some(shapes)} of another shape: {found}, expected {expected}")
    if faults:
        raise GradcamError(f"{path} does not hold the parameters of {type(model).__name__}: {'; '.join(faults)}")
    values = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    model.load_state_dict(wanted | values)


def _read(path: Path) -> Mapping[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with path.open("rb"):  # both libraries have messages of their own for what cannot be opened
            pass
        state: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except OSError as error:
        raise GradcamError(f"cannot read weights {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise GradcamError(f"cannot read weights {path}: {error}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        # What it says of itself advises to trust the file.
        raise GradcamError(f"cannot read weights {path}: torch.load takes no plain tensors from it") from error
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise GradcamError(f"{path} holds no state dict: it must map names to tensors")
    return state


def _some(names: Sequence[str]) -> str:
    return f"'{names[0]}'" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single value"
