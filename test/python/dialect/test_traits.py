"""Traits against what the ops compute: each example of test/lit/dialect/ops.mlir, executed in f32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from folders import ROOT
from torch_mlir import ir

from gradcam.dialect import GradCAM, adjoint_ops, make_context, ops
from gradcam.dialect.traits import (
    Elementwise,
    KeepsNonnegative,
    LinearInFirst,
    Nonnegative,
    Product,
    Quantized,
    Rescales,
    Rowwise,
    Sum,
    has,
    trait,
)
from gradcam.execution.float32 import KERNELS
from gradcam.passes.linalg.forward import LOWERINGS
from gradcam.reference import integer


@pytest.fixture(scope="module")
def examples():
    return ir.Module.parse((ROOT / "test/lit/dialect/ops.mlir").read_text(), make_context())


def example_ops(module: ir.Module) -> list[Any]:
    """The op of every example with f32 semantics whose operand 0 and result are f32."""
    found = [function.entry_block.operations[0] for function in module.body.operations]
    return [op for op in found if op.operation.name in KERNELS and is_f32(op.operands[0]) and is_f32(op.results[0])]


def is_f32(value: Any) -> bool:
    return isinstance(ir.RankedTensorType(value.type).element_type, ir.F32Type)


def operands_of(op: Any, seed: int = 0) -> list[np.ndarray]:
    """Random operands: normal f32, vectors of parameters positive, integers 0 and 1."""
    rng = np.random.default_rng(seed)

    def array(value: Any) -> np.ndarray:
        shape, element = ir.RankedTensorType(value.type).shape, ir.RankedTensorType(value.type).element_type
        if isinstance(element, ir.F32Type):
            return rng.standard_normal(shape).astype(np.float32)
        return rng.integers(0, 2, shape).astype(bool if element.width == 1 else f"int{element.width}")

    first, *rest = map(array, op.operands)
    return [first, *(np.abs(a) if a.ndim == 1 else a for a in rest)]  # one is a variance


def compute(op: Any, *operands: np.ndarray) -> np.ndarray:
    return KERNELS[op.operation.name](op, *operands)


def is_linear(op: Any) -> bool:
    first, *rest = operands_of(op)
    values = compute(op, first, *rest)
    return np.allclose(compute(op, -3 * first, *rest), -3 * values, rtol=1e-4, atol=1e-5)


def test_ops_are_linear_in_their_first_operand_exactly_where_they_say_so(examples):
    linear: dict[str, bool] = {}
    for op in example_ops(examples):
        linear[op.operation.name] = linear.get(op.operation.name, True) and is_linear(op)
        assert linear[op.operation.name] == has(op, LinearInFirst), op
    assert sum(linear.values()) > 15
    assert not linear["gradcam.relu"] and not linear["gradcam.conv2d"]


def test_ops_that_keep_nonnegative_elements(examples):
    kept = [op for op in example_ops(examples) if has(op, KeepsNonnegative)]
    assert len(kept) == 16
    for op in kept:
        first, *rest = (np.abs(a) for a in operands_of(op))
        assert (compute(op, first, *rest) >= 0).all()
        assert (compute(op, -first, *rest) < 0).any()


def test_ops_without_a_negative_result(examples):
    found = [op for op in example_ops(examples) if has(op, Nonnegative)]
    assert len(found) == 1
    for op in found:
        assert all((compute(op, sign * operands_of(op)[0]) >= 0).all() for sign in (1, -1))


def test_elementwise_ops_compute_each_element_alone(examples):
    """Every other element is another one: the result at this place stays, and elsewhere it changes."""
    found = [op for op in example_ops(examples) if has(op, Elementwise)]
    assert len({op.operation.name for op in found}) > 10
    for op in found:
        some, others, size = operands_of(op), operands_of(op, 1), list(op.results[0].type.shape)
        is_kept = np.random.default_rng(2).integers(0, 2, size).astype(bool)
        maps = [list(a.shape) == size for a in some]
        mixed = [np.where(is_kept, a, b) if m else a for m, a, b in zip(maps, some, others, strict=True)]
        before, after = compute(op, *some), compute(op, *mixed)
        assert (before[is_kept] == after[is_kept]).all() and (before != after).any()
        if all(maps) and len(size) == 4:  # nor does a place count: another order of the channels is that of the result
            moved = [np.ascontiguousarray(a[:, ::-1]) for a in some]
            np.testing.assert_allclose(compute(op, *moved), before[:, ::-1], rtol=1e-6, atol=1e-7)


def test_rowwise_ops_take_a_table(examples):
    rowwise = [op for op in example_ops(examples) if has(op, Rowwise)]
    assert len(rowwise) == 9
    for op in rowwise:
        tables, rest = [operands_of(op, seed)[0] for seed in range(3)], operands_of(op)[1:]
        rows = [compute(op, row, *rest) for row in tables]
        table = np.concatenate(tables)
        np.testing.assert_allclose(compute(op, table, *rest), np.concatenate(rows), rtol=1e-4, atol=1e-5)


def test_ops_with_a_quantized_form_have_an_integer_kernel_and_a_lowering():
    quantized = {op.OPERATION_NAME for op in GradCAM.operations if has(op, Quantized)}
    layouts = {"gradcam.unfold2d", "gradcam.fold2d"}  # made for quantized convolutions
    assert quantized == set(integer.KERNELS) - layouts
    assert quantized | layouts | {"func.return"} == set(LOWERINGS)


def test_a_trait_is_found_on_an_op_a_class_and_an_operation(examples):
    function = examples.body.operations[0]
    conv = function.entry_block.operations[0]
    for asked in (conv, conv.operation, ops.Conv2dOp):
        assert trait(asked, Rescales) == Product() and not has(asked, Sum)
    for without in (function, function.entry_block, adjoint_ops.ActivationAdjointOp):
        assert trait(without, Quantized) is None


@pytest.mark.parametrize("kind", GradCAM.operations, ids=lambda kind: kind.OPERATION_NAME)
def test_an_op_computes_its_integers_in_one_way(kind):
    forms = [t for t in kind._traits if isinstance(t, Quantized)]
    assert len(forms) <= 1
