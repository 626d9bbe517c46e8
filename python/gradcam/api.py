"""`gradcam.compile`: from a model to a `Design` in one call."""

# pyright: strict
from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from gradcam.checks import check_type
from gradcam.compiler import Settings
from gradcam.design import Design

if TYPE_CHECKING:  # it takes two seconds to import
    from torch import nn
    from torch.export import ExportedProgram

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
        from gradcam.frontend import load_model
        from gradcam.output import compile_to_folder

        check_type("the folder of a design", folder, "str | Path")
        chosen = settings(*args, **kwargs)
        named = isinstance(model, str | Path)
        loaded: Any = load_model(model) if named else model
        name = str(model) if named else type(model).__name__
        compile_to_folder(loaded, name, chosen, Path(folder), force=True)
        return Design.load(folder)

    compile.__signature__ = _signature(compile, settings)  # type: ignore[attr-defined] for help() and notebooks
    return compile


def _signature(compile: Callable[..., Any], settings: Callable[..., Any]) -> inspect.Signature:
    """The parameters of `compile` with those of `settings` in place of *args and **kwargs."""
    own = list(inspect.signature(compile).parameters.values())[:2]
    return inspect.Signature([*own, *inspect.signature(settings).parameters.values()], return_annotation=Design)


compile = _with_settings(Settings)
