"""The derived backward pass against PyTorch's autograd."""

from __future__ import annotations

import numpy as np
import pytest
from random_cnn import Network, op_names, pair, relative_error
from torch_mlir import ir

from gradcam.dialect import adjoint_ops, make_context, ops
from gradcam.dialect import adjoints as rules
from gradcam.errors import GradcamError
from gradcam.execution.float32 import KERNELS, run_float
from gradcam.execution.interpreter import run
from gradcam.passes.backward.derive_backward import DeriveBackward

TOLERANCE = 1e-4


def derived(net: Network, target: int, method: str) -> ir.Module:
    """The network's module after the pass; call it inside a context."""
    module = net.module(target, method)
    module.operation.verify()
    DeriveBackward().run(module)
    module.operation.verify()
    return module


def error(net: Network, target: int, method: str, cls: int = -1) -> float:
    with make_context():
        logits, heatmap = run_float(derived(net, target, method), net.image.numpy(), cls)
    wanted_logits, wanted = net.oracle(target, method, cls)
    assert relative_error(logits, wanted_logits) <= TOLERANCE
    return relative_error(heatmap, wanted)


def strided_network() -> tuple[Network, int]:
    """6x6 with a 3x3 window at stride 3: padding 0 and 1 both give 2x2, so a wrong padding is valid IR."""
    net = Network((1, 2, 6, 6), 0)
    target = net.relu(net.conv(0, 4, (1, 1)))
    net.linear(net.flatten(net.conv(target, 3, (3, 3), (3, 3))), 5)
    return net, target


def test_wrong_padding_is_caught(monkeypatch):
    net, target = strided_network()
    assert error(net, target, "hirescam") <= TOLERANCE

    def wrong(op, g, operand):
        shifted = (op.stride, pair((1, 1)), op.dilation, op.groups)
        return adjoint_ops.Conv2dAdjointOp(g, op.w, *shifted, op.x.type).result

    monkeypatch.setitem(rules.ADJOINTS, ops.Conv2dOp, wrong)
    assert error(net, target, "hirescam") > 0.1


def test_missing_mask_is_caught(monkeypatch):
    net = Network((1, 2, 6, 6), 0)
    target = net.conv(0, 4, (3, 3))
    net.linear(net.flatten(net.relu(target)), 5)
    assert error(net, target, "gradcam") <= TOLERANCE
    monkeypatch.setitem(rules.ADJOINTS, ops.ReluOp, lambda op, g, operand: g)
    assert error(net, target, "gradcam") > 0.1


@pytest.mark.parametrize("cls", [-1, 0, 4])
def test_requested_class(cls):
    net, target = strided_network()
    assert error(net, target, "gradcam", cls) <= TOLERANCE


def test_class_out_of_range():
    net, target = strided_network()
    with make_context(), pytest.raises(GradcamError, match="there is no class 5"):
        run_float(derived(net, target, "gradcam"), net.image.numpy(), 5)


def test_max_pool_gives_a_tie_to_the_first_maximum():
    """Hand arithmetic: a 2x2 window of equal values hands its gradient to the top left one."""
    text = """func.func @main(%g: tensor<1x1x1x1xf32>, %x: tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32> {
      %gx = "gradcam.max_pool2d_adjoint"(%g, %x) {kernel = [2, 2], stride = [1, 1], padding = [0, 0], dilation = [1, 1]}
        : (tensor<1x1x1x1xf32>, tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32>
      return %gx : tensor<1x1x2x2xf32>
    }"""
    with make_context():
        inputs = [np.full((1, 1, 1, 1), 3, np.float32), np.ones((1, 1, 2, 2), np.float32)]
        (gx,) = run(ir.Module.parse(text), inputs, KERNELS)
    assert gx.tolist() == [[[[3, 0], [0, 0]]]]


def test_only_the_path_gets_adjoints():
    """Nothing before the target and nothing beside the path is differentiated."""
    net = Network((1, 3, 8, 8), 0)
    stem = net.relu(net.conv(0, 4, (3, 3), padding=(1, 1)))
    target = net.relu(net.conv(stem, 4, (3, 3), padding=(1, 1)))
    beside = net.relu(net.conv(stem, 4, (1, 1)))
    net.linear(net.flatten(net.global_pool(net.concat(beside, target))), 5)
    with make_context():
        module = derived(net, target, "gradcam")
        adjoints = [name for name in op_names(module) if name.endswith(("_adjoint", "unflatten", "take_channels"))]
    assert adjoints == ["linear_adjoint", "unflatten", "avg_pool2d_adjoint", "take_channels"]


def test_adjoints_are_named_after_their_forward_op():
    net, target = strided_network()
    with make_context():
        module = derived(net, target, "gradcam")
        (adjoint,) = [
            op
            for op in module.body.operations[0].entry_block.operations
            if op.operation.name == "gradcam.conv2d_adjoint"
        ]
        assert str(adjoint.location) == 'loc("node3.adjoint")'


def test_attributes_are_kept_on_the_function():
    net, target = strided_network()
    with make_context():
        module = derived(net, target, "hirescam")
        attribute = module.body.operations[0].attributes["gradcam.explain"]
        assert ir.StringAttr(attribute["method"]).value == "hirescam"
        assert ir.StringAttr(attribute["target"]).value == f"node{target}"
        assert [ir.BoolAttr(attribute[name]).value for name in ("relu", "normalize")] == [True, True]
        assert ir.FloatAttr(attribute["eps"]).value == 1e-7


def test_target_that_does_not_reach_the_logits():
    net = Network((1, 3, 8, 8), 0)
    target = net.conv(0, 4, (3, 3))
    net.linear(net.flatten(net.conv(0, 4, (3, 3))), 5)
    with make_context(), pytest.raises(GradcamError, match="does not reach the logits"):
        DeriveBackward().run(net.module(target, "gradcam"))


def test_op_without_a_rule_is_named(monkeypatch):
    net, target = strided_network()
    monkeypatch.delitem(rules.ADJOINTS, ops.FlattenOp)
    with make_context(), pytest.raises(GradcamError, match=r"'gradcam\.flatten' .* has no adjoint rule") as caught:
        DeriveBackward().run(net.module(target, "gradcam"))
    assert str(caught.value.location) == 'loc("node4")'


def test_module_without_explanation_is_left_alone():
    text = """func.func @main(%x: tensor<1x2xf32>) -> tensor<1x2xf32> { return %x : tensor<1x2xf32> }"""
    with make_context():
        module = ir.Module.parse(text)
        before = str(module)
        DeriveBackward().run(module)
        assert str(module) == before
