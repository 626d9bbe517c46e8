"""The front end: a PyTorch model, a saved `torch.export` program, or an ONNX file, as a level-1 module.

`import_model(load_model("gradcam.models:tinyml_resnet18"), target_layer="layer4")` is all it takes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch_mlir import ir

from gradcam.dialect import make_context
from gradcam.errors import GradcamError, fail
from gradcam.faults import Faults, each
from gradcam.frontend import export, gradients, layers, torch_import
from gradcam.frontend.loading import load_model
from gradcam.frontend.onnx_model import OnnxModel
from gradcam.passes.torch.convert_torch_to_gradcam import ConvertTorchToGradcam
from gradcam.passes.torch.recognize_activations import RecognizeActivations

__all__ = ["import_model", "import_torch", "load_model", "target_layers"]

Model = nn.Module | torch.export.ExportedProgram | OnnxModel


def import_model(
    model: Model,
    input_shape: Sequence[int] | None = None,
    target_layer: str | Sequence[str] | None = None,
    method: str = "gradcam",
    context: ir.Context | None = None,
    eps: float | None = None,
    top_k: int = 1,
    pool_map: int = 1,
) -> ir.Module:
    """Imports an image classifier as gradcam ops on f32 tensors.

    The model is only traced: it is not run, no hook is put on it, and neither it nor a program is changed.

    Args:
        model: a float32 module in eval mode, a program exported from one, or an ONNX model; it maps an image to logits.
        input_shape: (1, C, H, W); by default the module's attribute `input_shape`, or the program's own.
        target_layer: module path such as "layer4" or "layer3.1", or several; without it there is no explanation. A call
            of a module called repeatedly is `relu@0`, `relu@1` and so on. Of an ONNX model the name of a node, or of a
            tensor that a node gives.
        method: one of `gradcam.dialect.methods.METHODS`.
        context: made by `gradcam.dialect.make_context`; a fresh one by default.
        eps: added to every divisor: the maximum in the map's normalization, and those of xgradcam and gradcam++. None
            is what pytorch-grad-cam adds: 1e-6 for gradcam++, else 1e-7.
        top_k: classes to explain at every target layer: the requested or predicted one, then the best others.
        pool_map: side of the blocks of which maps have the means, as torch.nn.functional.avg_pool2d; 1: maps as they
            are. What is behind the last whole block is left out, which is warned of.

    Returns:
        A module whose `main` maps the image (1xCxHxW, f32) and, with a target layer, the class (1xi32, below 0 for the
        predicted one) to the logits (1xK) and `top_k` maps (1xhxw) per target layer in the order given. Every op's
        location is the path of its module.

    Raises:
        Faults: all unsupported parts of the model, one line per problem.
        GradcamError: the model cannot be exported at all, or the input shape is missing or wrong.
    """
    module, targets, faults = _import(model, input_shape, target_layer, context)
    if module is not None:
        try:
            RecognizeActivations().run(module)
            ConvertTorchToGradcam(method, eps, () if faults else targets, top_k, pool_map).run(module)
        except GradcamError as error:
            faults += each(error)
    if faults or module is None:
        raise Faults(faults)
    try:
        module.operation.verify()
    except ir.MLIRError as error:  # operands that do not fit, in a file that was written so
        raise Faults([fail(_as_op_has_it(f.location), f.message) for f in error.error_diagnostics]) from error
    return module


def import_torch(
    model: Model,
    input_shape: Sequence[int] | None = None,
    target_layer: str | Sequence[str] | None = None,
    context: ir.Context | None = None,
) -> ir.Module:
    """Imports a model as ops of the `torch` dialect (level 0), every target layer marked; see `import_model`.

    Raises:
        GradcamError: the model cannot be exported or imported.
    """
    module, _, faults = _import(model, input_shape, target_layer, context)
    if faults or module is None:
        raise Faults(faults)
    return module


def target_layers(model: Model, input_shape: Sequence[int] | None = None) -> list[str]:
    """The names that a target layer can have, in program order: modules, or their calls, that give one feature map.

    Raises:
        GradcamError: the model cannot be exported.
    """
    if isinstance(model, OnnxModel):
        from gradcam.frontend.onnx_import import onnx_layers  # it imports onnx, an extra

        return onnx_layers(model, input_shape, make_context())
    return layers.feature_maps(layers.Calls(export.functional_program(model, input_shape).graph))


def _as_op_has_it(location: ir.Location) -> ir.Location:
    """The location of a diagnostic, which has the base class alone, as that of an op has its own."""
    return ir.Location.from_attr(location.attr, location.context)


def _import(
    model: Model,
    input_shape: Sequence[int] | None,
    target_layer: str | Sequence[str] | None,
    context: ir.Context | None,
) -> tuple[ir.Module | None, tuple[str, ...], list[GradcamError]]:
    """The level-0 module, if it could be made, the paths of the target layers, and the faults found on the way."""
    context = context or make_context()
    named = (target_layer,) if isinstance(target_layer, str) else tuple(target_layer or ())
    if isinstance(model, OnnxModel):
        from gradcam.frontend.onnx_import import import_onnx  # it imports onnx, an extra

        imported, faults = import_onnx(model, input_shape, named, context)
        return imported, named, faults
    with gradients.functions_seen() as functions:
        program = export.functional_program(model, input_shape)
    if target_layer:
        gradients.tell_ignored(model, functions)
    faults = []
    calls = layers.Calls(program.graph)
    layers.name_nodes(calls)
    faults += export.mutation_faults(program, calls, context)
    targets = layers.written_names(calls, named, model if isinstance(model, nn.Module) else None)
    faults += layers.mark_targets(calls, targets)
    faults += gradients.stopped_gradients(calls, context)
    try:
        return torch_import.to_torch_ir(program, context), targets, faults
    except GradcamError as error:
        return None, targets, [*faults, *each(error)]
