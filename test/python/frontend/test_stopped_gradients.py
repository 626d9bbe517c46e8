"""What a model does to its gradients by other means than ops: refused or told, and never derived as if it were not."""

import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from frontend_models import SHAPE
from random_cnn import relative_error
from torch import nn

from gradcam import frontend
from gradcam.execution.float32 import run_float
from gradcam.faults import Faults
from gradcam.passes.backward.derive_backward import DeriveBackward


class Net(nn.Module):
    """A convolution, a function of two others, and a mean."""

    input_shape = SHAPE

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second, self.head = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.function = function
        self.eval()

    def forward(self, x):
        return self.head(F.relu(self.function(self, x))).mean((2, 3))


def without_gradient(net, x):
    with torch.no_grad():
        return F.relu(net.second(x))


def stopped_later(net, x):
    x = F.relu(net.first(x))
    return x + without_gradient(net, x)


def stopped_before(net, x):
    return F.relu(net.first(without_gradient(net, x) + F.relu(net.second(x)).detach())) * torch.tensor(2.0)


STOPPED = {
    "detach": (lambda net, x: (lambda a: a + net.second(a.detach()))(F.relu(net.first(x))), "second: reads"),
    "of all": (lambda net, x: net.second(net.first(x).detach()), "second: reads"),
    "no_grad": (stopped_later, "reads a value through detach or under torch.no_grad"),
}


@pytest.mark.parametrize("name", STOPPED)
@pytest.mark.parametrize("exported", [False, True])
def test_a_gradient_that_stops_behind_the_target_is_refused(name, exported):
    function, message = STOPPED[name]
    model = Net(function)
    if exported:
        model = torch.export.export(model, (torch.zeros(SHAPE),))
        before = str(model.graph)
    with pytest.raises(Faults, match=message):
        frontend.import_model(model, SHAPE, "first")
    frontend.import_model(model, SHAPE)  # nothing is explained
    assert not exported or str(model.graph) == before


def test_a_forward_without_gradients_has_no_layers_to_name():
    class Quiet(Net):
        @torch.no_grad()
        def forward(self, x):
            return super().forward(x)

    model = Quiet(lambda net, x: net.second(net.first(x)))
    with pytest.raises(Faults, match="the program names no module, as when forward runs under"):
        frontend.import_model(model, target_layer="first")


def test_a_gradient_that_stops_before_the_target_is_no_fault():
    model, image = Net(stopped_before), np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    module = frontend.import_model(model, target_layer="first")
    DeriveBackward().run(module)
    kept = []
    model.first.register_forward_hook(lambda _m, _i, out: kept.append(out))
    logits = model.double()(torch.from_numpy(image).double())
    (g,) = torch.autograd.grad(logits.max(), kept[0])
    wanted = (g.mean((2, 3), keepdim=True) * kept[0]).sum(1).detach().numpy()
    assert relative_error(run_float(module, image)[1], wanted) <= 1e-5


class Straight(torch.autograd.Function):
    """A clamp with the gradient of the identity."""

    @staticmethod
    def forward(ctx, x):
        return x.clamp(0, 1)

    @staticmethod
    def backward(ctx, grad):
        return grad


def test_autograd_functions_and_backward_hooks_are_told(caplog):
    model = Net(lambda net, x: Straight.apply(net.first(x)))
    model.head.register_full_backward_hook(lambda _m, inputs, _o: inputs)
    with caplog.at_level(logging.WARNING):
        frontend.import_model(model)
        assert not caplog.records
        frontend.import_model(model, target_layer="first")
    function, hook = (r.message for r in caplog.records)
    assert (
        function
        == "the backward pass of the autograd function Straight is not used: gradients are those of its forward"
    )
    assert hook == "the backward hooks of 'head' are not used: gradients are those of the forward pass"
