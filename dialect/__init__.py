"""The gradcam dialect: ops, verifiers, adjoint rules; importing it does not touch any context."""

from __future__ import annotations

from torch_mlir import ir
from torch_mlir._mlir_libs import _torchMlir  # not its dialects.torch, which has a class for each of 900 ops

from gradcam.dialect import (
    activation_ops,
    adjoint_ops,
    cam_ops,
    channel_ops,
    layout_ops,
    ops,
    product_ops,
    resample_ops,
)
from gradcam.dialect.gradcam import GradCAM

__all__ = [
    "GradCAM",
    "activation_ops",
    "adjoint_ops",
    "cam_ops",
    "channel_ops",
    "irdl_text",
    "layout_ops",
    "make_context",
    "ops",
    "product_ops",
    "register_and_load",
    "resample_ops",
]


def register_and_load(context: ir.Context) -> None:
    """Loads the dialect into `context`; a second call for the same context does nothing."""
    with context:
        if not context.is_dialect_loaded(GradCAM.DIALECT_NAMESPACE):
            GradCAM.load()


def make_context() -> ir.Context:
    """A fresh context with every upstream dialect, `torch` and `gradcam`."""
    context = ir.Context()
    _torchMlir.register_dialect(context)
    register_and_load(context)
    return context


def irdl_text() -> str:
    """The dialect as IRDL, for `torch-mlir-opt --irdl-file=`."""
    with make_context():
        return str(GradCAM._mlir_module)
