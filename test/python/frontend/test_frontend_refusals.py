"""What the front end refuses: by name, with its place in the model, all at once."""

import re

import pytest
import torch
import torch.nn.functional as F
from frontend_models import SHAPE, Classifier, Lambda, Trunk, faults_of
from torch import nn

from gradcam import frontend
from gradcam.faults import Faults
from gradcam.passes.torch.convert_torch_to_gradcam import ConvertTorchToGradcam

ROW = torch.ones(8)

REFUSED = {
    "softplus": (F.softplus, "head: aten.softplus is not supported"),
    "pad with 1": (lambda x: F.pad(x, (1, 0), value=1.0), "head: aten.pad pads with 1.0; hardware pads with zeros"),
    "pad by -1": (lambda x: F.pad(x, (1, -1)), "head: aten.pad pads by [1, -1]; a negative number cuts"),
    "pad of channels": (lambda x: F.pad(x, (0, 0, 0, 0, 1, 1)), "aten.pad pads by [0, 0, 0, 0, 1, 1], also other"),
    "pad of a relu": (lambda x: F.relu(F.pad(x, (1, 1), value=-float("inf"))), "and is not read by max-pools alone"),
    "along rows": (lambda x: F.conv1d(x.flatten(2)[0], torch.ones(1, 4, 1)), "takes a tensor of shape 4x64; supported"),
    "layer norm": (nn.LayerNorm([4, 8, 8]), "aten.layer_norm normalizes by a mean and a variance that it computes"),
    "group norm": (nn.GroupNorm(2, 4), "head: aten.group_norm normalizes by a mean and a variance that it computes"),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x, x), "multiplies two tensors computed from the image"),
    "replicate": (nn.ReplicationPad2d(1), "head: aten.pad with mode 'replicate' is not supported"),
    "reflect": (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "head.pad: aten.pad with mode 'reflect'"),
    "transposed": (nn.ConvTranspose2d(4, 4, 2), "head: aten.conv_transpose2d.input is not supported"),
    "broadcast": (lambda x: x + x.mean((2, 3), keepdim=True), "adds shapes 1x4x8x8 and 1x4x1x1; broadcasting"),
    "pixels": (lambda x: x + ROW, "takes a constant of shape 8; supported is a number, or one per channel"),
    "quotient": (lambda x: x / F.relu(x), "aten.div.Tensor divides by a tensor computed from the image"),
    "by zero": (lambda x: x / 0, "head: aten.div.Scalar takes a constant that is not finite"),
    "softmax": (lambda x: F.softmax(x, 1).mean((2, 3)), "head.softmax: aten.softmax.int is followed by another op"),
    "three branches": (
        lambda x: torch.stack([x, x, x], 1).softmax(1).sum(1), "aten.softmax.int weighs 3 branches; supported are two"
    ),
    "sum of channels": (lambda x: x.sum(1), "takes the sum over [1] of 1x4x8x8; only height and width"),
    "positions": (lambda x: F.softmax(x.flatten(1), 0), "aten.softmax.int runs over dimension 0 of 1x256"),
    "pixel": (lambda x: x[:, :, 0, 0], "head.select: aten.select.int takes one of the 8 elements of dimension 2"),
    "rows": (lambda x: x[:, :, 2:], "head: aten.slice.Tensor takes or moves elements of dimension 2 of 1x4x8x8; only"),
    "halves": (lambda x: x.chunk(2, -1)[1], "split.Tensor takes or moves elements of dimension -1 of 1x4x8x8"),
    "twice": (lambda x: x[:, [1, 1]], "aten.index.Tensor takes one element of dimension 1 more than once"),
    "list of rows": (lambda x: x[:, :, [1, 0]], "index.Tensor takes or moves elements of dimension 2 of 1x4x8x8; only"),
    "two lists": (lambda x: x[:, [1, 0], [2, 3]], "aten.index.Tensor takes elements by 2 tensors; supported is one"),
    "mask": (lambda x: x[:, torch.tensor([True, False, True, True])], "at places that are not constant integers"),
    "places": (lambda x: x.index_select(1, x[0, 0, 0].long()), "at places that are not constant integers"),
    "order": (lambda x: F.max_pool2d(x.permute(0, 2, 3, 1), 2), "takes a tensor of shape 1x8x8x4, the dimensions of"),
    "adaptive maximum": (nn.AdaptiveMaxPool2d((3, 4)), "makes 3x4 of 8x8, by windows of different sizes; give it"),
    "bilinear": (nn.UpsamplingBilinear2d(scale_factor=2), "aten.upsample_bilinear2d.vec computes elements between"),
    "one and a half": (nn.Upsample(scale_factor=1.5), "aten.upsample_nearest2d.vec makes 12x12 of 8x8; supported"),
    "rounded factor": (nn.Upsample(scale_factor=3.1), "does not make blocks of 3x3 equal elements of 8x8"),
    "smaller": (lambda x: F.interpolate(x, (4, 8)), "makes 4x8 of 8x8; supported are rows and columns that become"),
    "beta": (lambda x: torch.addmm(ROW, x.mean((2, 3)), ROW.repeat(4, 1), alpha=2), "has beta=1 and alpha=2; only 1"),
    "mean": (lambda x: x.mean(1), "takes the mean over [1] of 1x4x8x8; only height and width"),
    "maximum": (lambda x: x.amax(), "takes the maximum over [] of 1x4x8x8; only height and width"),
    "cat": (lambda x: torch.cat([x, x], 2), "joins along dimension 2"),
    "clamp": (lambda x: x.clamp(2, 1), "has bounds 2 and 1; the lower one must be less than the upper one"),
    "identity": (nn.LeakyReLU(1.0), "head: aten.leaky_relu has negative_slope=1.0; supported is at least 0 and"),
    "slope below 0": (nn.LeakyReLU(-0.1), "head: aten.leaky_relu has negative_slope=-0.1; supported is at least 0"),
    "reshape": (lambda x: x.reshape(1, 8, 4, 8), "reshapes 1x4x8x8 to 1x8x4x8"),
    "half": (lambda x: x.half().float(), "aten._to_copy changes tensor<1x4x8x8xf32> to tensor<1x4x8x8xf16>"),
    "no statistics": (nn.BatchNorm2d(4, track_running_stats=False), "no_stats has no running statistics"),
    "computed weight": (lambda x: F.conv2d(x, x), "has weights (argument 1) computed at run time"),
    "linear rank": (nn.Linear(8, 8), "head: aten.linear takes a tensor of shape 1x4x8x8"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_ops_are_refused_by_name_and_place(name):
    head, message = REFUSED[name]
    found = faults_of(Trunk(head))
    assert any(message in line for line in found), found


def test_all_faults_are_reported_at_once():
    model = nn.Sequential(nn.ConvTranspose2d(4, 4, 3, padding=1), nn.Softplus(), nn.Conv2d(4, 2, 3), nn.ELU()).eval()
    model.input_shape = SHAPE
    with torch.no_grad():
        model[2].weight[0, 0, 0, 0] = float("nan")
        model[2].bias[0] = float("inf")
    assert faults_of(model, target_layer="9") == [
        "target layer '9' is not a module that leaves an op in the exported program"
        " (gradcam-import --list-layers, or gradcam.frontend.target_layers, lists all 4)",
        "0: aten.conv_transpose2d.input is not supported",
        "1: aten.softplus is not supported",
        "2.weight: weights contain NaN or infinity",
        "2.bias: weights contain NaN or infinity",
        "3: aten.elu is not supported",
        "the output has shape 1x2x6x6; it must be logits, 1xK",
    ]  # fmt: skip


def test_an_unsupported_op_makes_no_faults_after_it():
    assert faults_of(Classifier(lambda x: F.relu(F.softplus(x)) + F.softplus(x))) == [
        "body.softplus: aten.softplus is not supported",
        "body.softplus_1: aten.softplus is not supported",
    ]


def test_training_mode_is_reported_for_every_op_it_concerns():
    model = Trunk(nn.Sequential(nn.BatchNorm2d(4), nn.Dropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten())).train()
    first, second = faults_of(model)
    assert first.startswith("head.0.batch_norm: ") and "call .eval()" in first
    assert second.startswith("head.1: ") and "call .eval()" in second
    assert model.training


def test_a_batch_norm_without_statistics_is_not_told_to_call_eval():
    for model in (
        Trunk(nn.BatchNorm2d(4, track_running_stats=False)),
        Trunk(lambda x: F.batch_norm(x, None, None, training=True)),
    ):
        for training in (False, True):
            found = [line for line in faults_of(model.train(training)) if "statistics" in line]
            assert len(found) == 1 and "train it with track_running_stats=True" in found[0] and "eval()" not in found[0]


def test_training_mode_without_effect_is_fine():
    frontend.import_model(Classifier(nn.ReLU()).train())


@pytest.mark.parametrize(("dtype", "name"), [(torch.float64, "f64"), (torch.float16, "f16"), (torch.bfloat16, "bf16")])
def test_other_float_types_are_named(dtype, name):
    found = faults_of(Classifier(nn.Conv2d(4, 4, 3)).to(dtype))
    only = "only f32 is supported: call .float() on the model"
    assert found == [f"the input is {name}; {only}", f"body.weight: the constant is {name}, and so are 3 more; {only}"]


def test_inputs_and_outputs_must_be_those_of_a_classifier():
    model = Trunk(lambda x: x.mean((2, 3)))
    assert "batch size 2" in faults_of(model, input_shape=(2, 4, 8, 8))[0]
    assert "must be 1,C,H,W" in faults_of(model, input_shape=(4, 8, 8))[0]
    del Trunk.input_shape
    try:
        assert "input shape is not known" in faults_of(model)[0]
    finally:
        Trunk.input_shape = SHAPE
    assert faults_of(Trunk(lambda x: (x.mean((2, 3)), x.mean((2, 3))))) == [
        "the model gives 2 outputs; it must give the logits alone"
    ]
    assert faults_of(Trunk(F.relu)) == ["the output has shape 1x4x8x8; it must be logits, 1xK"]
    assert faults_of("model")[0].startswith("expected an nn.Module")


def test_dynamic_sizes_batches_and_two_inputs_of_programs():
    model = Trunk(lambda x: x.mean((2, 3)))
    size = torch.export.Dim("height")
    dynamic = torch.export.export(model, (torch.zeros(1, 4, 8, 8),), dynamic_shapes=({2: size},))
    (message,) = faults_of(dynamic)
    assert re.fullmatch(r"the program takes the sizes 1,4,s\d+,8; give the input shape, 1,C,H,W", message)
    for shape in ((1, 4, 8, 9), (1, 4, 8)):
        assert faults_of(dynamic, input_shape=shape)[0].startswith("the program was exported for the input shape 1,4,s")
    batched = torch.export.export(model, (torch.zeros(2, 4, 8, 8),))
    assert faults_of(batched)[0] == "the input has shape 2x4x8x8; it must be 1xCxHxW (batch size 1)"

    class Two(nn.Module):
        def forward(self, x, y):
            return (x + y).mean((2, 3))

    two = torch.export.export(Two(), (torch.zeros(SHAPE),) * 2)
    assert faults_of(two) == ["the model takes 2 inputs; it must take one image"]


def test_what_cannot_be_exported_is_one_line(capfd):
    def branch(x):
        return x.mean((2, 3)) if x.sum() > 0 else x.mean((2, 3)) + 1

    (message,) = faults_of(Trunk(branch))
    assert message.startswith("torch.export cannot trace the model: GuardOnDataDependentSymNode: ")
    (message,) = faults_of(Trunk(lambda x: x @ torch.zeros(3, 3)))
    assert message.startswith("torch.export cannot trace the model: RuntimeError: ")
    assert capfd.readouterr().err == ""
    (message,) = faults_of(
        Trunk(lambda x: torch.cond(x.sum() > 0, lambda t: t.mean((2, 3)), lambda t: t.sum((2, 3)), (x,)))
    )
    assert message == "head.cond: control flow (cond) is not supported"


class Counter(nn.Module):
    input_shape = SHAPE

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x.mean((2, 3))


def test_state_is_refused():
    assert faults_of(Counter()) == ["calls: forward writes this buffer, which is not supported"]


def test_target_must_give_one_feature_map():
    class Side(nn.Module):
        input_shape = SHAPE

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3)
            self.pair = Lambda(lambda x: (F.relu(x), x.clamp(0, 1)))
            self.fc = nn.Linear(4, 2)

        def forward(self, x):
            a, b = self.pair(self.conv(x))
            return self.fc((a + b).mean((2, 3)))

    model = Side()
    assert "gives 2 tensors; it must give one feature map" in faults_of(model, target_layer="pair")[0]
    assert "gives a tensor of 2 dimensions" in faults_of(model, target_layer="fc")[0]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("Score-CAM", "method 'Score-CAM' has no static form: its weights are class scores of masked images"),
        ("SmoothGrad-CAM++", "method 'SmoothGrad-CAM++' has no static form: it averages over noisy copies"),
        ("grad-cm", "unknown method 'grad-cm'; did you mean 'gradcam'?"),
        ("layer_kam", "unknown method 'layer_kam'; did you mean 'layercam'?"),
        ("score-kam", "unknown method 'score-kam'; choose one of gradcam,"),
    ],
)
def test_methods_that_cannot_be_taken(method, message):
    (fault,) = faults_of(Trunk(lambda x: x.mean((2, 3))), method=method)
    assert fault.startswith(message)


@pytest.mark.parametrize(
    ("written", "method"),
    [("GradCAM", "gradcam"), ("Grad-CAM", "gradcam"), ("Grad-CAM++", "gradcam++"), ("GradCAMPlusPlus", "gradcam++"),
     ("grad_cam_pp", "gradcam++"), ("HiResCAM", "hirescam"), ("XGrad-CAM", "xgradcam"), ("Layer CAM", "layercam"),
     ("GradCAMElementWise", "gradcam-elementwise")],
)  # fmt: skip
def test_methods_as_people_write_them(written, method):
    model = Trunk(lambda x: x.mean((2, 3)))
    module = frontend.import_model(model, target_layer="conv", method=written)
    assert f'method = "{method}"' in str(module)


def test_unknown_method_is_refused():
    assert faults_of(Trunk(lambda x: x.mean((2, 3))), method="foo") == [
        "unknown method 'foo'; choose one of gradcam, hirescam, xgradcam, layercam, gradcam-elementwise, gradcam++"
    ]


def test_a_refused_module_is_left_as_it_was():
    model = Trunk(F.softplus)
    module = frontend.import_torch(model, target_layer="conv")
    before = str(module)
    with pytest.raises(Faults) as caught:
        ConvertTorchToGradcam().run(module)
    assert [f.message for f in caught.value.faults] == [
        "aten.softplus is not supported",
        "the output has shape 1x4x8x8; it must be logits, 1xK",
    ]
    assert str(module) == before
