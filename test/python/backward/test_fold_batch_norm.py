"""Batch norm folds into the convolution before it, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from random_cnn import Network, op_names, random_case, relative_error

from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float
from gradcam.passes.backward.derive_backward import DeriveBackward
from gradcam.passes.backward.fold_batch_norm import FoldBatchNorm

TOLERANCE = 1e-5


def network(bias: bool = True) -> tuple[Network, int, int]:
    """conv, batch norm, relu, linear; returns the network and the nodes of the convolution and the relu."""
    net = Network((1, 3, 7, 7), 0)
    conv = net.conv(0, 4, (3, 3), bias=bias)
    relu = net.relu(net.batch_norm(conv))
    net.linear(net.flatten(relu), 5)
    return net, conv, relu


@pytest.mark.parametrize("bias", [False, True])
def test_fold(bias):
    net, _, relu = network(bias)
    with make_context():
        module = net.module(relu, "gradcam")
        FoldBatchNorm().run(module)
        module.operation.verify()
        assert op_names(module)[:4] == ["constant", "constant", "conv2d", "relu"]
        assert str(module.body.operations[0].entry_block.operations[2].location) == 'loc("node1")'
        DeriveBackward().run(module)
        found = run_float(module, net.image.numpy())
    for value, wanted in zip(found, net.oracle(relu, "gradcam"), strict=True):
        assert relative_error(value, wanted) <= TOLERANCE


def test_target_between_them_keeps_the_batch_norm():
    net, conv, _ = network()
    with make_context():
        module = net.module(conv, "gradcam")
        before = str(module)
        FoldBatchNorm().run(module)
        assert str(module) == before


def test_convolution_with_another_reader_keeps_the_batch_norm():
    net = Network((1, 3, 7, 7), 0)
    conv = net.conv(0, 4, (3, 3))
    target = net.add(net.batch_norm(conv), conv)
    net.linear(net.flatten(target), 5)
    with make_context():
        module = net.module(target, "gradcam")
        FoldBatchNorm().run(module)
        assert "batch_norm" in op_names(module)


def test_negative_variance_is_reported_by_name():
    net, _, relu = network()
    with make_context():
        module = net.module(relu, "gradcam")
        norm = next(op for op in module.body.operations[0].entry_block.operations if "batch_norm" in op.operation.name)
        norm.operation.operands[4] = norm.mean
        with pytest.raises(GradcamError, match=r"var \+ eps = -.* in channel \d+; it must be positive") as caught:
            FoldBatchNorm().run(module)
        assert str(caught.value.location) == 'loc("node2")'


def test_generated_networks():
    for seed in range(20):
        net, target = random_case(seed)
        with make_context():
            module = net.module(target, "gradcam")
            FoldBatchNorm().run(module)
            module.operation.verify()
            DeriveBackward().run(module)
            found = run_float(module, net.image.numpy())
        for value, wanted in zip(found, net.oracle(target, "gradcam"), strict=True):
            assert relative_error(value, wanted) <= TOLERANCE, seed


def behind(build) -> Network:
    """A batch norm that no layer before it takes, what `build` puts behind it, and a head."""
    net = Network((1, 3, 7, 6), 4)
    x = net.relu(net.conv(0, 6, (3, 3)))
    build(net, net.batch_norm(net.max_pool(x, (2, 2), (2, 2), (0, 0))))
    net.linear(net.flatten(len(net.nodes) - 1), 5)
    return net


@pytest.mark.parametrize(
    ("build", "folds"),
    [
        (lambda net, x: net.conv(x, 8, (2, 2)), True),
        (lambda net, x: net.conv(x, 8, (2, 1), groups=2), True),
        (lambda net, x: net.conv(x, 6, (2, 2), groups=6), True),
        (lambda net, x: net.conv(x, 8, (2, 2), padding=(1, 1)), False),
        (lambda net, x: net.add(net.conv(x, 6, (1, 1)), x), False),
        (lambda net, x: net.relu(x), False),
    ],
)
def test_a_layer_behind_a_batch_norm_takes_it_where_that_is_exact(build, folds):
    net = behind(build)
    with make_context():
        module = net.module(2, "hirescam")
        FoldBatchNorm().run(module)
        assert module.operation.verify()
        assert ("batch_norm" in op_names(module)) != folds
        DeriveBackward().run(module)
        found = run_float(module, net.image.numpy())
    for value, wanted in zip(found, net.oracle(2, "hirescam"), strict=True):
        assert relative_error(value, wanted) <= TOLERANCE


def test_a_target_between_a_batch_norm_and_a_layer_keeps_them_apart():
    net = behind(lambda net, x: net.conv(x, 8, (2, 2)))
    with make_context():
        module = net.module(4, "gradcam")
        FoldBatchNorm().run(module)
        assert "batch_norm" in op_names(module)


def test_wrong_fold_is_caught():
    """The comparison can fail: a fold that forgets the mean is noticed."""
    net, _, relu = network()
    with make_context():
        module = net.module(relu, "gradcam")
        norm = next(op for op in module.body.operations[0].entry_block.operations if "batch_norm" in op.operation.name)
        norm.operation.operands[3] = norm.beta
        FoldBatchNorm().run(module)
        DeriveBackward().run(module)
        logits, _ = run_float(module, net.image.numpy())
    assert relative_error(logits, net.oracle(relu, "gradcam")[0]) > 1e-2
    assert np.isfinite(logits).all()
