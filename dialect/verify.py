"""Checks shared by op verifiers; each raises `Invalid` with a message for the user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import quant


class Invalid(Exception):
    """The fault of an invalid op, in one line."""


def require(condition: bool, message: str) -> None:
    """Raises `Invalid(message)` unless `condition`."""
    if not condition:
        raise Invalid(message)


def verifier(check: Callable[[Any], None]) -> staticmethod:
    """Makes `verify_invariants` out of a function that raises `Invalid`; IRDL checks operand and result counts."""

    def verify_invariants(op: Any) -> bool:
        try:
            for value in [*op.operands, *op.results]:
                tensor(value)
            check(op)
        except Invalid as error:
            op.location.emit_error(f"'{op.name}' op {error}")
            return False
        except (IndexError, KeyError, TypeError):
            # IRDL reports a wrong operand count or a missing attribute; without them there is nothing left to check.
            op.location.emit_error(f"'{op.name}' op has missing operands or attributes")
            return False
        return True

    return staticmethod(verify_invariants)


def tensor(value: Any) -> ir.RankedTensorType:
    """The value's type as a tensor of static shape with f32, integer or quantized elements."""
    # Every operand passes here, and a quantized type of a thousand channels is a long text: only faults are printed.
    if not isinstance(value.type, ir.RankedTensorType):
        raise Invalid(f"works on ranked tensors, got {value.type}")
    type_ = ir.RankedTensorType(value.type)
    if not type_.has_static_shape:
        raise Invalid(f"needs a static shape, got {type_}; export the model without dynamic shapes")
    element = type_.element_type
    if not isinstance(element, (ir.F32Type, ir.IntegerType, quant.QuantizedType)):
        raise Invalid(f"element type must be f32, an integer or !quant.uniform, got {element}")
    return type_


def shape(value: Any) -> list[int]:
    """Static shape of a tensor value."""
    return list(tensor(value).shape)


def rank(value: Any, wanted: int, what: str) -> list[int]:
    """Shape of `value`, which must have `wanted` dimensions; `what` names them in the error message."""
    found = shape(value)
    require(len(found) == wanted, f"{what} must have {wanted} dimensions, got {tensor(value)}")
    return found


def by(shape: Sequence[int]) -> str:
    """A shape as text: 1x3x8x8."""
    return "x".join(map(str, shape))


def result_shape(op: Any, wanted: Sequence[int]) -> None:
    """Checks that the only result has shape `wanted`."""
    found = shape(op.results[0])
    require(found == list(wanted), f"result must have shape {by(wanted)}, got {tensor(op.results[0])}")


def ints(op: Any, name: str, length: int, minimum: int) -> list[int]:
    """Integer array attribute `name` with `length` entries of at least `minimum`."""
    entries = list(ir.ArrayAttr(op.attributes[name]))
    require(all(isinstance(a, ir.IntegerAttr) for a in entries), f"attribute '{name}' must hold integers")
    values = [ir.IntegerAttr(a).value for a in entries]
    require(len(values) == length, f"attribute '{name}' must have {length} entries, got {values}")
    require(all(v >= minimum for v in values), f"attribute '{name}' must be at least {minimum}, got {values}")
    return values


def check_slope(op: Any) -> float:
    """The attribute `slope`, the slope of an activation outside its bounds, which must be at least 0 and less than 1.

    With a negative slope an output would not tell on which side of a bound its input was. With a slope of 1 or more it
    could exceed its input.
    """
    slope = ir.FloatAttr(op.attributes["slope"]).value
    require(0 <= slope < 1, f"attribute 'slope' must be at least 0 and less than 1, got {slope}")
    return slope


def sides(op: Any) -> tuple[list[int], list[int]]:
    """The padding of a window before and behind a map, for height and width each.

    The attribute 'padding' is [top, left, bottom, right], or [height, width] where both sides are equal.
    """
    count = 4 if len(ir.ArrayAttr(op.attributes["padding"])) == 4 else 2
    padding = ints(op, "padding", count, 0)
    return padding[:2], padding[-2:]


def is_padded(op: Any) -> bool:
    """Whether a window op pads its map on any side."""
    return any(map(any, sides(op)))


def padding_of(low: Sequence[int], high: Sequence[int]) -> list[int]:
    """The numbers of the attribute 'padding' for `sides` low and high."""
    return list(low) if list(low) == list(high) else [*low, *high]


def window(op: Any, size: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Output height and width of a sliding window over `size` (H, W), by the formula of torch.nn.Conv2d."""
    stride, dilation = ints(op, "stride", 2, 1), ints(op, "dilation", 2, 1)
    out = []
    for n, k, s, low, high, d in zip(size, kernel, stride, *sides(op), dilation, strict=True):
        reach, padded = d * (k - 1) + 1, low + n + high
        require(padded >= reach, f"window of {reach} is larger than the padded input of {padded}")
        out.append((padded - reach) // s + 1)
    return out
