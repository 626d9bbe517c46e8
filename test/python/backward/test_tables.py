"""Adjoints of a table of all classes: the formulas that are folded at compile time, against autograd in f64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from simplify_cases import avg, conv, tensor, window
from torch_mlir import ir

from gradcam.dialect import make_context
from gradcam.passes.backward.tables import FORMULAS

ROWS = 3  # classes

#: Height and width, kernel, stride, padding, dilation.
WINDOWS = [
    ((8, 7), (3, 3), (2, 2), (1, 1), (1, 1)),
    ((9, 6), (2, 3), (1, 1), (1, 0), (1, 1)),
    ((7, 11), (2, 2), (3, 3), (0, 1), (1, 1)),
    ((10, 9), (3, 2), (2, 3), (1, 1), (2, 3)),
    ((4, 4), (4, 4), (4, 4), (2, 0), (1, 1)),
]


def folded(name: str, table: torch.Tensor, parameters: dict, result: tuple[int, ...], attributes: str) -> torch.Tensor:
    """What the formula of the op `name` makes of a table, K x the shape of a gradient."""
    shapes = {"g": (1, *table.shape[1:])} | {n: tuple(p.shape) for n, p in parameters.items()}
    arguments = ", ".join(f"%{n}: {tensor(*s)}" for n, s in shapes.items())
    names, types = ", ".join(f"%{n}" for n in shapes), ", ".join(tensor(*s) for s in shapes.values())
    text = f"""func.func @main({arguments}) -> {tensor(*result)} {{
      %y = "gradcam.{name}"({names}) {attributes} : ({types}) -> {tensor(*result)}
      return %y : {tensor(*result)} }}"""
    module = ir.Module.parse(text, make_context())
    op = module.body.operations[0].entry_block.operations[0]
    return torch.from_numpy(FORMULAS[type(op)](op, table.numpy(), *(p.numpy() for p in parameters.values())).copy())


def normal(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(list(shape)).standard_normal(shape))


def pulled_back(forward, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """A random table of gradients at the result of `forward`, and autograd's gradients at its input."""
    x = normal(ROWS, *shape[1:]).requires_grad_()
    y = forward(x)
    table = normal(*y.shape)
    return table, torch.autograd.grad(y, x, table)[0]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("case", WINDOWS)
def test_convolution(case, groups):
    size, kernel, stride, padding, dilation = case
    w = normal(6, 4 // groups, *kernel)
    table, wanted = pulled_back(lambda x: F.conv2d(x, w, None, stride, padding, dilation, groups), (1, 4, *size))
    text = conv(stride=stride, padding=padding, dilation=dilation, groups=f"{groups} : i64")
    found = folded("conv2d_adjoint", table, {"w": w}, (1, 4, *size), text)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    moved = folded("conv2d_adjoint", table, {"w": w.flip(2, 3)}, (1, 4, *size), text)
    assert (moved - wanted).abs().max() > 0.1  # the taps of the weight in another order are noticed


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("case", [case for case in WINDOWS if case[4] == (1, 1)])
def test_average_pool(case, include):
    size, kernel, stride, padding, _ = case
    table, wanted = pulled_back(
        lambda x: F.avg_pool2d(x, kernel, stride, padding, count_include_pad=include), (1, 2, *size)
    )
    found = {
        flag: folded("avg_pool2d_adjoint", table, {}, (1, 2, *size), avg(kernel, stride, flag, padding=padding))
        for flag in ("true", "false")
    }
    torch.testing.assert_close(found[str(include).lower()], wanted, rtol=0, atol=1e-12)
    assert any(padding) == (not torch.equal(found["true"], found["false"]))


@pytest.mark.parametrize("case", WINDOWS)
def test_tap_sums(case):
    """With them, the sum of a transposed convolution over its result needs no such result."""
    size, kernel, stride, padding, dilation = case
    w = normal(5, 4, *kernel)
    table, full = pulled_back(lambda x: F.conv2d(x, w, None, stride, padding, dilation), (1, 4, *size))
    text = window(kernel, stride, padding, dilation, size=f"[{size[0]}, {size[1]}]")
    sums = folded("tap_sums", table, {}, (1, 5, *kernel), text).flip(2, 3)  # they come last tap first
    torch.testing.assert_close(torch.einsum("noyx,ocyx->nc", sums, w), full.sum((2, 3)), rtol=0, atol=1e-11)


def test_small_maps():
    w, gamma, var = normal(5, 4), normal(4), normal(4) ** 2 + 0.5
    table, wanted = pulled_back(lambda x: F.linear(x, w), (1, 4))
    torch.testing.assert_close(folded("linear_adjoint", table, {"w": w}, (1, 4), ""), wanted)
    norm = lambda x: F.batch_norm(x, torch.zeros(4).double(), var, gamma, None, False, 0.0, 0.25)  # noqa: E731
    table, wanted = pulled_back(norm, (1, 4, 3, 2))
    found = folded("batch_norm_adjoint", table, {"gamma": gamma, "var": var}, (1, 4, 3, 2), "{eps = 0.25 : f64}")
    torch.testing.assert_close(found, wanted)
    table = normal(ROWS, 4, 3, 2)
    torch.testing.assert_close(folded("channel_weights", table, {}, (1, 4), ""), table.mean((2, 3)))
    found = folded("take_channels", table, {}, (1, 3, 3, 2), "{order = [2, -1, 1]}")
    torch.testing.assert_close(found, torch.stack([table[:, 2], 0 * table[:, 0], table[:, 1]], 1))
    torch.testing.assert_close(folded("relu", table, {}, (1, 4, 3, 2), ""), F.relu(table))
