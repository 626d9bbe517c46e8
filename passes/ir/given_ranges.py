"""Ranges that a quantized model brings, as an attribute of level 1: `gradcam-calibrate` takes them as they are."""

from __future__ import annotations

from typing import Any

from torch_mlir import ir

from gradcam.passes.ir.normalization import set_image_attribute

#: The attribute of an op, or of the image argument: the largest magnitude of its int8 values, f64.
GIVEN_RANGE = "gradcam.given_range"


def give_range(value: ir.Value, magnitude: float) -> None:
    """Sets the range of the result of an op, or of the image."""
    attribute = ir.FloatAttr.get(ir.F64Type.get(), magnitude)
    if isinstance(value.owner, ir.Block):
        set_image_attribute(value.owner.owner, GIVEN_RANGE, attribute)
    else:
        value.owner.attributes[GIVEN_RANGE] = attribute


def given_range(attributes: Any) -> ir.FloatAttr | None:
    """The range that is given among attributes; None where it is to be measured."""
    return ir.FloatAttr(attributes[GIVEN_RANGE]) if GIVEN_RANGE in attributes else None
