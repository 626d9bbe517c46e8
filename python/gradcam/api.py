"""`gradcam.compile` and `gradcam.export_onnx`: from a model to a `Design`, or to an ONNX model, in one call."""

# pyright: strict
from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from gradcam.checks import check_type
from gradcam.compiler import Compilation, Settings
from gradcam.design import Design

if TYPE_CHECKING:  # it takes two seconds to import
    from torch import nn
    from torch.export import ExportedProgram

    from gradcam.images import Numbers

Options = ParamSpec("Options")
Compile = Callable[Concatenate["nn.Module | ExportedProgram | str | Path", "str | Path", Options], Design]


def _with_settings(settings: Callable[Options, Settings]) -> Compile[Options]:
    """Gives `compile` the arguments of `settings` after its own, so that type checkers and editors know them."""

    def compile(
        model: nn.Module | ExportedProgram | str | Path,
        folder: str | Path,
        *args: Options.args,
        **kwargs: Options.kwargs,
    ) -> Design:
        """Compiles an image classifier and its Grad-CAM to SystemVerilog.

            design = gradcam.compile(model, "build/resnet", target_layer="layer4", pe="16x16")
            (result,) = design.simulate(images[:1])

        Args:
            model: a float32 module in eval mode, an exported program, or a name as `gradcam-compile` takes it:
                `package.module:callable`, `path/file.py:callable` or the path of a `.pt2` or `.onnx` file. Loading one
                runs its code, except for ONNX, which has none.
            folder: the output folder. It is written whole or not at all, and replaces what an earlier compile left.
            *args: of `gradcam.Settings`, `target_layer` first.
            **kwargs: of `gradcam.Settings`.

        Returns:
            The design.

        Raises:
            GradcamError: the settings cannot be, the model cannot be compiled, or the folder holds files of others.
        """
        from gradcam.output import compile_to_folder

        check_type("the folder of a design", folder, "str | Path")
        chosen = settings(*args, **kwargs)
        loaded, name = _loaded(model)
        compile_to_folder(loaded, name, chosen, Path(folder), force=True)
        return Design.load(folder)

    compile.__signature__ = _signature(compile, settings)  # type: ignore[attr-defined] for help() and notebooks
    return compile


def _loaded(model: nn.Module | ExportedProgram | str | Path) -> tuple[Any, str]:
    """A model that may be given by its name, and its name for reports."""
    from gradcam.frontend import load_model

    if isinstance(model, str | Path):
        return load_model(model), str(model)
    return model, type(model).__name__


def _signature(compile: Callable[..., Any], settings: Callable[..., Any]) -> inspect.Signature:
    """The parameters of `compile` with those of `settings` in place of *args and **kwargs."""
    own = list(inspect.signature(compile).parameters.values())[:2]
    return inspect.Signature([*own, *inspect.signature(settings).parameters.values()], return_annotation=Design)


compile = _with_settings(Settings)


def export_onnx(
    model: nn.Module | ExportedProgram | str | Path,
    file: str | Path,
    target_layer: str | Sequence[str] | None,
    method: str = "gradcam",
    *,
    top_k: int = 1,
    pool_map: int = 1,
    input_shape: tuple[int, ...] | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    preset: str | None = None,
) -> Path:
    """Writes an image classifier and its Grad-CAM as an ONNX model, for a runtime without autograd.

        gradcam.export_onnx(model, "explained.onnx", target_layer="layer4")
        session = onnxruntime.InferenceSession("explained.onnx")
        logits, heatmap = session.run(None, {"image": image, "class": np.array([-1])})

    Args:
        model: as `gradcam.compile` takes it.
        file: where to write; an exported model that is there is replaced, and nothing else. Of a model with more than
            8 MiB the weights go to a second file beside it, `FILE.data`, which belongs to it: a runtime opens it by the
            path of `file`.
        target_layer: module path of the feature map to explain, or several; None: logits only.
        method: one of `gradcam.dialect.methods.METHODS`.
        top_k: classes to explain at every target layer.
        pool_map: side of the blocks of which each map has the means.
        input_shape: (1, C, H, W); None takes the model's own.
        mean: mean of the pixels that the model was trained on, from 0 to 1, one number or one per channel; with `std`.
            The exported model then takes pixels from 0 to 1, else what `model` takes.
        std: their standard deviation, in the same form.
        preset: mean and std by name, such as "imagenet".

    Returns:
        The file.

    Raises:
        GradcamError: the package onnx is missing, the settings cannot be, the model cannot be imported, or the file
            cannot be written, or it or `FILE.data` is there and is not of an exported model.
    """
    from gradcam.onnx_export import compiled_model
    from gradcam.onnx_files import check_model_files, save_model
    from gradcam.onnx_package import onnx_package

    check_type("the file of an ONNX model", file, "str | Path")
    check_model_files(str(file), force=True)
    onnx_package("an ONNX model")
    settings = Settings(
        target_layer,
        method,
        top_k=top_k,
        pool_map=pool_map,
        input_shape=input_shape,
        mean=mean,
        std=std,
        preset=preset,
    )
    loaded, name = _loaded(model)
    exported = compiled_model(Compilation(loaded, settings), name)
    save_model(exported, str(file))
    return Path(file)
