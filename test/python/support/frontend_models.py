"""Small models, and what the tests of the front end ask of a module."""

import pytest
import torch
from torch import nn

from gradcam import frontend
from gradcam.errors import GradcamError

SHAPE = (1, 4, 8, 8)


class Classifier(nn.Module):
    """A body between an input of `SHAPE` and three logits."""

    def __init__(self, body, shape=SHAPE):
        super().__init__()
        self.body = body if isinstance(body, nn.Module) else Lambda(body)
        self.input_shape = shape
        out = self.body.eval()(torch.zeros(shape))
        self.fc = nn.Linear(out.numel(), 3)
        self.eval()

    def forward(self, x):
        return self.fc(torch.flatten(self.body(x), 1))


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Trunk(nn.Module):
    """conv -> relu -> pool, whatever `head` then makes of a 1x4x8x8 map."""

    input_shape = SHAPE

    def __init__(self, head):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.head = head if isinstance(head, nn.Module) else Lambda(head)
        self.eval()

    def forward(self, x):
        return self.head(self.conv(x))


def body_ops(module):
    return [op.operation for op in module.body.operations[0].regions[0].blocks[0].operations]


def op_names(module):
    names = [op.name.removeprefix("gradcam.") for op in body_ops(module)]
    return [name for name in names if name not in ("arith.constant", "func.return")]


def locations(module):
    return [op.location.name_str for op in body_ops(module) if op.name != "func.return"]


def faults_of(model, **kwargs):
    with pytest.raises(GradcamError) as caught:
        frontend.import_model(model, **kwargs)
    return caught.value.message.splitlines()
