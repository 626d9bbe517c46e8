"""The simplified backward pass computes what the derived one does, with less."""

from __future__ import annotations

import numpy as np
import pytest
from random_cnn import Network, op_names, relative_error
from simplify_cases import CASES, case_text
from torch_mlir import ir

from gradcam.dialect import adjoint_ops, cam_ops, make_context
from gradcam.execution.float32 import KERNELS
from gradcam.execution.interpreter import run
from gradcam.passes.backward import rewrites, simplify_backward, spatial_mean
from gradcam.passes.backward.derive_backward import DeriveBackward
from gradcam.passes.backward.simplify_backward import SimplifyBackward

TOLERANCE = 1e-5


def before_and_after(text: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The result before and after the pass, and the op names after it."""
    with make_context():
        module = ir.Module.parse(text)
        rng = np.random.default_rng(1)
        shapes = [ir.RankedTensorType(a.type).shape for a in module.body.operations[0].arguments]
        inputs = [np.array([1], np.int32) if s == [1] else rng.standard_normal(s).astype(np.float32) for s in shapes]
        (before,) = run(module, inputs, KERNELS)
        SimplifyBackward().run(module)
        module.operation.verify()
        (after,) = run(module, inputs, KERNELS)
        return before, after, op_names(module)[:-1]


@pytest.mark.parametrize("case", CASES)
def test_pattern(case):
    arguments, constants, body, wanted = CASES[case]
    before, after, names = before_and_after(case_text(arguments, constants, body))
    assert names == wanted
    assert relative_error(after, before) <= TOLERANCE


def test_wrong_pattern_is_caught(monkeypatch):
    """The comparison above can fail: a mean that forgets the ratio of the areas is noticed."""

    def wrong(op):
        pool = op.g.owner
        return rewrites.rebuilt(op, pool.g) if isinstance(pool, adjoint_ops.AvgPool2dAdjointOp) else None

    monkeypatch.setitem(simplify_backward.PATTERNS, cam_ops.ChannelWeightsOp, [spatial_mean.mean_of_point, wrong])
    before, after, _ = before_and_after(case_text(*CASES["mean of a pool's adjoint"][:3]))
    assert relative_error(after, before) > 0.1


def residual_network() -> tuple[Network, int]:
    """A stem and a residual block, then a global average pool and a linear layer; the block's output is the target."""
    net = Network((1, 3, 8, 6), 0)
    x = net.relu(net.conv(0, 4, (3, 3), padding=(1, 1)))
    target = net.relu(net.add(net.conv(net.relu(net.conv(x, 4, (3, 3), padding=(1, 1))), 4, (1, 1)), x))
    net.linear(net.flatten(net.global_pool(target)), 5)
    return net, target


def simplified(net: Network, target: int, method: str) -> ir.Module:
    module = net.module(target, method)
    DeriveBackward().run(module)
    SimplifyBackward().run(module)
    return module


def test_global_pool_and_linear_head_leave_no_backward_pass():
    net, target = residual_network()
    with make_context():
        module = simplified(net, target, "gradcam")
        names = op_names(module)
        assert names[names.index("select_class") :] == ["select_class", "class_row", "weighted_sum", "scale", "return"]
        *_, linear, _, row, _, scale, _ = module.body.operations[0].entry_block.operations
        assert row.w == linear.w, "the row comes from the classifier's own weight"
        assert scale.factor.value == 1 / 48


def test_hirescam_with_the_same_head_is_the_same_ir():
    net, target = residual_network()
    with make_context():
        cam, hires = (str(simplified(net, target, method)) for method in ("gradcam", "hirescam"))
    assert cam != hires, "the method stays in the function's attribute"
    assert cam == hires.replace('method = "hirescam"', 'method = "gradcam"')


def test_replacements_keep_locations():
    net, target = residual_network()
    with make_context():
        module = simplified(net, target, "gradcam")
        *_, row, _, _, _ = module.body.operations[0].entry_block.operations
        assert str(row.location) == f'loc("node{len(net.nodes) - 1}.adjoint")'


def test_equal_constants_of_two_layers_stay_apart():
    """Upstream folding would merge them and lose a layer's name."""
    text = """func.func @main() -> (tensor<2xf32>, tensor<2xf32>) {
      %a = arith.constant dense<1.0> : tensor<2xf32> loc("a")
      %b = arith.constant dense<1.0> : tensor<2xf32> loc("b")
      return %a, %b : tensor<2xf32>, tensor<2xf32>
    }"""
    with make_context():
        module = ir.Module.parse(text)
        SimplifyBackward().run(module)
        assert op_names(module) == ["constant", "constant", "return"]
