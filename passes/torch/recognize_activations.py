"""RecognizeActivations: activations that a program writes out by simpler ops, at level 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch_mlir import ir

from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.torch import torch_ir
from gradcam.passes.torch.arithmetic import NO_OPS
from gradcam.passes.torch.by_torch import called, function_of

#: Ops that compute each element by itself, and of which activations are written.
_PARTS = frozenset(
    (
        *(f"aten.{name}.{kind}" for name in ("add", "div", "mul", "sub") for kind in ("Scalar", "Tensor")),
        *(f"aten.{name}" for name in ("clamp", "clamp_max", "clamp_min", "clip", "erf", "exp", "hardsigmoid")),
        *(f"aten.{name}" for name in ("hardtanh", "log1p", "neg", "relu", "relu6", "sigmoid", "softplus", "tanh")),
        *("aten.pow.Tensor_Scalar", "aten.rsub.Scalar", *NO_OPS),
    )
)

#: The ops that are recognized, with the arguments behind the first.
_KNOWN: tuple[tuple[str, tuple[str, ...]], ...] = (
    *(("aten.hardsigmoid", ()), ("aten.hardswish", ()), ("aten.silu", ()), ("aten.mish", ())),
    *(("aten.gelu", ("none",)), ("aten.gelu", ("tanh",))),
)

#: The largest difference to a recognized function on `_SAMPLES`, with 0, -3 and 3 among them, where functions bend.
#: Constants such as 1/6 are rounded to f32.
_TOLERANCE = 1e-5
_SAMPLES = np.concatenate([np.linspace(-9, 9, 145), np.linspace(-0.1, 0.1, 21)])

#: The most ops between an activation's input and its result.
_LONGEST = 12


@dataclass(frozen=True)
class RecognizeActivations(Pass):
    """Replaces ops that together compute a known activation by that activation: one op in hardware instead of several.

    A function is told by its values, not by how it is written: what is computed element by element from one tensor is
    evaluated on samples in f64, and its values and derivatives, as torch.autograd has them, are compared with those of
    hard-sigmoid, hard-swish, SiLU, Mish and both forms of GELU.

    This pass turns:

        %a = torch.aten.add.Scalar %x, %float3, %int1 : ...
        %b = torch.aten.relu6 %a : ...
        %c = torch.aten.mul.Tensor %x, %b : ...
        %y = torch.aten.div.Scalar %c, %float6 : ...

    into:

        %y = torch.aten.hardswish %x : !torch.vtensor<[1,8,4,4],f32> -> !torch.vtensor<[1,8,4,4],f32>
    """

    name: ClassVar[str] = "gradcam-recognize-activations"

    def run(self, module: ir.Module) -> None:  # noqa: D102
        for function in module.body.operations:
            for op in [op.operation for block in function.operation.regions[0].blocks for op in block.operations]:
                if torch_ir.op_name(op) in _PARTS and (found := _recognized(op.results[0])):
                    with module.context, op.location, ir.InsertionPoint(op):
                        _replace(op, *found)


def _recognized(value: ir.Value) -> tuple[ir.Value, str, tuple[str, ...]] | None:
    """The input, the op and its arguments of the activation that `value` is; None where it is none."""
    inputs = _inputs(value)
    if not inputs:
        return None
    import torch

    samples = torch.from_numpy(_SAMPLES).requires_grad_()
    with torch.enable_grad():
        for x in inputs:
            y = _evaluated(value, {x: samples})
            for name, arguments in _KNOWN if y is not None and x.type == value.type else ():
                if _equal(y, called(function_of(name), [samples, *arguments]), samples):
                    return x, name, arguments
    return None


def _equal(one: Any, other: Any, samples: Any) -> bool:
    """Whether two functions of the samples have the same values and, where they bend, too, the same derivatives."""
    import torch

    slopes = [torch.autograd.grad(y.sum(), samples, retain_graph=True)[0] for y in (one, other)]
    return all(torch.allclose(*pair, rtol=0, atol=_TOLERANCE) for pair in ((one, other), slopes))


def _inputs(value: ir.Value) -> list[ir.Value]:
    """The tensors of which `value` may be a function, the nearest first; those that its own op reads are too near."""
    found, frontier = list[ir.Value](), [value]
    for distance in range(_LONGEST):
        readers = [op for v in frontier if (op := torch_ir.defining_op(v)) and torch_ir.op_name(op) in _PARTS]
        read = (v for op in readers for v in op.operands if "vtensor" in str(v.type))
        frontier = [v for v in dict.fromkeys(read) if not _is_literal(v)]
        found += [v for v in frontier if v not in found] if distance else []
    return found


def _evaluated(value: ir.Value, known: dict[ir.Value, Any]) -> Any | None:
    """The values of a tensor for those of another one in f64; None where it depends on more."""
    if value in known:
        return known[value]
    op = torch_ir.defining_op(value)
    if op is None or torch_ir.op_name(op) not in _PARTS:
        return _number(op)
    operands = []
    for operand in op.operands:
        is_tensor = "vtensor" in str(operand.type)
        try:
            argument = _evaluated(operand, known) if is_tensor else torch_ir.static_argument(operand)
        except torch_ir.NotStatic:
            return None
        if argument is None and is_tensor:
            return None
        operands.append(argument)
    name = torch_ir.op_name(op)
    known[value] = operands[0] if name in NO_OPS else called(function_of(name), operands)
    return known[value]


def _is_literal(value: ir.Value) -> bool:
    op = torch_ir.defining_op(value)
    return op is not None and op.name == torch_ir.LITERAL


def _number(op: Any | None) -> Any | None:
    """A constant of one number, in f64; None for any other op."""
    if op is None or op.name != torch_ir.LITERAL or not isinstance(op.attributes["value"], ir.DenseElementsAttr):
        return None
    import torch

    values = np.asarray(op.attributes["value"])
    return torch.tensor(float(values.reshape(-1)[0]), dtype=torch.float64) if values.size == 1 else None


def _replace(op: Any, x: ir.Value, name: str, arguments: tuple[str, ...]) -> None:
    """Puts an activation of `x` in the place of an op."""
    text = ir.Type.parse("!torch.str")
    constants = [
        ir.Operation.create("torch.constant.str", [text], [], {"value": ir.StringAttr.get(a)}).result for a in arguments
    ]
    made = ir.Operation.create(f"torch.{name}", [op.results[0].type], [x, *constants])
    op.results[0].replace_all_uses_with(made.result)
