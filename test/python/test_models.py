"""The networks and the data that ship with the package."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import export, nn

from gradcam import data, models
from gradcam.errors import GradcamError
from gradcam.state import KEYS, load_state
from gradcam.tools import write_digits


def torchvision_shapes():
    """Names and shapes of torchvision's resnet18 state dict, in order, written out from its documentation."""

    def bn(name, c):
        per_channel = {f"{name}.{k}": (c,) for k in ("weight", "bias", "running_mean", "running_var")}
        return per_channel | {f"{name}.num_batches_tracked": ()}

    shapes = {"conv1.weight": (64, 3, 7, 7)} | bn("bn1", 64)
    for layer, (cin, c) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], 1):
        for block in range(2):
            at = f"layer{layer}.{block}"
            shapes |= {f"{at}.conv1.weight": (c, cin if block == 0 else c, 3, 3)} | bn(f"{at}.bn1", c)
            shapes |= {f"{at}.conv2.weight": (c, c, 3, 3)} | bn(f"{at}.bn2", c)
            if block == 0 and layer > 1:
                shapes |= {f"{at}.downsample.0.weight": (c, cin, 1, 1)} | bn(f"{at}.downsample.1", c)
    return shapes | {"fc.weight": (1000, 512), "fc.bias": (1000,)}


def test_resnet18_has_torchvisions_names_and_shapes():
    model = models.resnet18()
    expected = torchvision_shapes()
    assert len(expected) == 122
    assert list(expected.items()) == [(k, tuple(v.shape)) for k, v in model.state_dict().items()]
    assert sum(p.numel() for p in model.parameters()) == 11_689_512
    children = "conv1 bn1 relu maxpool layer1 layer2 layer3 layer4 avgpool fc"
    assert " ".join(name for name, _ in model.named_children()) == children
    assert " ".join(name for name, _ in model.layer2[0].named_children()) == "conv1 bn1 relu conv2 bn2 downsample"


@pytest.mark.parametrize(
    ("arguments", "shape", "last"),
    [
        ({"width": 8}, (1, 3, 224, 224), (7, 7)),
        ({"width": 8, "stem": "cifar", "num_classes": 10, "in_channels": 1}, (1, 1, 32, 32), (4, 4)),
    ],
)
def test_resnet18_shapes(arguments, shape, last):
    model = models.resnet18(**arguments).eval()
    seen = []
    model.layer4.register_forward_hook(lambda _m, _i, output: seen.append(tuple(output.shape)))
    assert model.input_shape == shape
    assert model(torch.zeros(shape)).shape == (1, arguments.get("num_classes", 1000))
    assert seen == [(1, 64, *last)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "resnet18: width must be a positive integer, got 0"),
        ({"width": 1.5}, "resnet18: width must be a positive integer, got 1.5"),
        ({"num_classes": True}, "resnet18: num_classes must be a positive integer, got True"),
        ({"in_channels": -1}, "resnet18: in_channels must be a positive integer, got -1"),
        ({"stem": "vit"}, "resnet18: stem must be 'imagenet' or 'cifar', got 'vit'"),
    ],
)
def test_resnet18_bad_argument(arguments, message):
    with pytest.raises(GradcamError) as error:
        models.resnet18(**arguments)
    assert error.value.message == message


def test_the_shipped_digits_are_scikit_learns(tmp_path):
    from sklearn.datasets import load_digits

    digits = load_digits()
    with np.load(data.DIGITS) as shipped:
        assert sorted(shipped) == ["ink", "labels"]
        np.testing.assert_array_equal(shipped["ink"], digits.images)
        np.testing.assert_array_equal(shipped["labels"], digits.target)
    write_digits.write(tmp_path / "digits.npz")
    assert (tmp_path / "digits.npz").read_bytes() == data.DIGITS.read_bytes()


def test_splits_share_no_sample():
    train, test = data.split_indices("train"), data.split_indices("test")
    assert not set(train.tolist()) & set(test.tolist())
    assert sorted([*train, *test]) == list(range(1797))
    with pytest.raises(GradcamError, match="split must be"):
        data.split_indices("validation")


def test_splits_are_cut_between_forms():
    _, labels = data._digits()
    for form in range(14):
        start, stop = data.FORMS[form], data.FORMS[form + 1]
        assert abs(stop - start - 130) <= 10
        # Every form starts by counting up (0 1 2 3 ...); one has lost its 0.
        assert labels[start] in (0, 1)
        np.testing.assert_array_equal(np.diff(labels[start : start + 9]), 1)
    assert {*np.unique(labels[data.split_indices("test")])} == {*range(10)}


def test_compose_is_deterministic():
    first, again, other = data.compose("test", 8, 3), data.compose("test", 8, 3), data.compose("test", 8, 4)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first.pixels != other.pixels).any()
    assert (data.compose("train", 8, 3).pixels != first.pixels).any()


@pytest.mark.parametrize("augment", [False, True])
def test_compose_boxes(augment):
    labels = np.arange(200) % 10
    images = data.compose("train", 200, 5, labels, augment)
    np.testing.assert_array_equal(images.labels, labels)
    x0, y0, x1, y1 = images.boxes.T
    assert (x0 >= 0).all() and (y0 >= 0).all() and (x1 <= data.SIZE).all() and (y1 <= data.SIZE).all()
    assert (x1 - x0 >= 4).all() and (y1 - y0 >= 10).all()
    assert (x1 - x0 <= data.MAX_DIGIT).all() and (y1 - y0 <= data.MAX_DIGIT).all()


def test_compose_bad_labels():
    with pytest.raises(GradcamError, match="labels must be 2 integers from 0 to 9"):
        data.compose("test", 2, 0, np.array([0, 10]))


def test_to_input():
    pixels = np.array([[[0, 255, 51]]], np.uint8)
    x = data.to_input(pixels)
    assert x.shape == (1, 3, 1, 1) and x.dtype == np.float32
    np.testing.assert_allclose(x[0, :, 0, 0], [-1, 1, -0.6], atol=1e-6)
    np.testing.assert_array_equal(data.to_input(np.stack([pixels] * 2)), np.concatenate([x, x]))
    for bad in (pixels.astype(np.float32), pixels[0], np.zeros((2, 2, 4), np.uint8)):
        with pytest.raises(GradcamError, match="pixels must be uint8"):
            data.to_input(bad)


@pytest.fixture(scope="module")
def tiny():
    return models.tinyml_resnet18()


def accuracy(model, images):
    with torch.inference_mode():
        predicted = model(torch.from_numpy(data.to_input(images.pixels))).argmax(1).numpy()
    return float((predicted == images.labels).mean())


def test_tinyml_interface(tiny):
    assert not tiny.training
    assert tiny.input_shape == (1, 3, 64, 64)
    assert {v.dtype for v in tiny.state_dict().values() if v.is_floating_point()} == {torch.float32}
    calibration = tiny.calibration_images()
    assert calibration.shape == (64, 3, 64, 64) and calibration.dtype == np.float32
    np.testing.assert_array_equal(calibration, tiny.calibration_images())


def test_tinyml_accuracy(tiny):
    assert accuracy(tiny, data.compose("test", 1200, seed=99)) >= 0.98


def test_shipped_images(tiny):
    images = data.load_test_images()
    assert images.pixels.shape == (50, 64, 64, 3) and images.pixels.dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(images.labels), [5] * 10)
    assert len({image.tobytes() for image in images.pixels}) == 50
    x0, y0, x1, y1 = images.boxes.T
    assert (x0 >= 0).all() and (y0 >= 0).all() and (x0 < x1).all() and (y0 < y1).all()
    assert (x1 <= 64).all() and (y1 <= 64).all()
    paths = data.test_image_paths()
    assert len(paths) == 50
    np.testing.assert_array_equal(data.read_image(paths[7]), images.pixels[7])
    assert accuracy(tiny, images) >= 0.9


def test_shipped_images_are_the_composed_ones(tmp_path):
    """The files can be made again from the source, so they come from the test split."""
    data.write_test_images(tmp_path)
    for made, shipped in zip(data.load_test_images(tmp_path), data.load_test_images(), strict=True):
        # Another BLAS may round a pixel the other way.
        np.testing.assert_allclose(made.astype(int), shipped.astype(int), atol=1)


def test_tinyml_gradcam_finds_the_digit(tiny):
    from gradcam.tools.train_tinyml import gradcam_hits

    assert gradcam_hits(tiny, data.load_test_images()) >= 40


def test_bad_files(tmp_path):
    missing, damaged = tmp_path / "missing", tmp_path / "damaged.png"
    damaged.write_bytes(b"not an image")
    for path in (missing, damaged):
        with pytest.raises(GradcamError, match="cannot read image"):
            data.read_image(path)
        with pytest.raises(GradcamError, match="cannot read weights"):
            models.tinyml_resnet18(path)


@pytest.fixture(scope="module")
def torchvisions_state():
    """Random values by torchvision's names and shapes."""
    torch.manual_seed(1)
    return {
        name: torch.tensor(3) if name.endswith("num_batches_tracked") else torch.rand(shape) + 0.5
        for name, shape in torchvision_shapes().items()
    }


@pytest.mark.parametrize("name", ["resnet18.safetensors", "resnet18.pth"])
def test_torchvisions_weights_load_by_name(torchvisions_state, tmp_path, name):
    (save_file if name.endswith("safetensors") else torch.save)(torchvisions_state, tmp_path / name)
    model = models.resnet18(weights=tmp_path / name)
    assert not any(module.training for module in model.modules())
    assert model.layer3[0].downsample[1].running_var.equal(torchvisions_state["layer3.0.downsample.1.running_var"])
    assert all(value.equal(torchvisions_state[name]) for name, value in model.state_dict().items())


def test_counters_may_be_missing_and_weights_half(torchvisions_state, tmp_path):
    """PyTorch keeps num_batches_tracked since 0.4.1; older files, such as torchvision's first ones, have none."""
    old = {k: v.half() for k, v in torchvisions_state.items() if not k.endswith("num_batches_tracked")}
    assert len(old) == 102
    torch.save(old, tmp_path / "resnet18.pth")
    model = models.resnet18(weights=tmp_path / "resnet18.pth")
    assert model.fc.weight.dtype == torch.float32 and model.fc.weight.equal(old["fc.weight"].float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc.bias": None, "bn1.weight": None}, "missing 'bn1.weight' and 1 more"),
        ({"fc.bias": None}, "missing 'fc.bias'"),
        ({"head.weight": torch.zeros(2)}, "unexpected 'head.weight'"),
        ({"fc.weight": torch.zeros(10, 512)}, "'fc.weight' of another shape: 10x512, expected 1000x512"),
        (
            {"fc.bias": None, "head.bias": torch.zeros(()), "bn1.bias": torch.zeros(())},
            "missing 'fc.bias'; unexpected 'head.bias'; 'bn1.bias' of another shape: a single value, expected 64",
        ),
    ],
)
def test_other_names_and_shapes_are_refused_in_one_line(torchvisions_state, tmp_path, change, message):
    path = tmp_path / "weights.pth"
    torch.save({k: v for k, v in (torchvisions_state | change).items() if v is not None}, path)
    with pytest.raises(GradcamError) as error:
        models.resnet18(weights=path)
    assert error.value.message == f"{path} does not hold the parameters of ResNet18: {message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip, no pickle", "torch.load takes no plain tensors from it"),
        (b"hello", "torch.load takes no plain tensors from it"),  # PyTorch raises a KeyError
        (
            {"epoch": 3, "state": {"fc.bias": torch.zeros(10)}},
            "it must map names to tensors, alone or under",
        ),
        ({"model": {"a": torch.zeros(2)}, "net": {"a": torch.zeros(2)}}, "a state dict under each of model, net"),
        ({"state_dict": {"a": torch.zeros(2)}, "args": Path("x")}, "holds objects of 'pathlib.*' beside tensors"),
        ({3: torch.zeros(3)}, "it must map names to tensors"),
        (torch.zeros(3), "it must map names to tensors"),
        (nn.Linear(2, 2), "holds a pickled module, and unpickling one runs code; save its state dict by"),
        (torch.jit.script(nn.ReLU()), "holds TorchScript"),
        (export.export(nn.ReLU(), (torch.zeros(1),)), "is a program of torch.export"),
        (b"\x08\x08\x12\x07pytorch", "holds an ONNX graph"),
    ],
)
def test_a_file_that_is_no_state_dict_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save = {torch.jit.RecursiveScriptModule: torch.jit.save, export.ExportedProgram: export.save}
        save.get(type(content), torch.save)(content, str(path))
    with pytest.raises(GradcamError, match=message) as error:
        models.resnet18(weights=path)
    assert "\n" not in error.value.message
    path.rename(tmp_path / "weights.safetensors")
    with pytest.raises(GradcamError, match=r"cannot read weights|holds TorchScript|holds an ONNX|is a program"):
        models.resnet18(weights=tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.to_sparse(), "of the sparse layout sparse_coo; save it after .to_dense()"),
        (lambda t: t.to("meta"), "without values (on the device meta)"),
        (lambda t: t + 1j, "of complex numbers (complex64), expected floating-point numbers"),
        (lambda t: t > 0, "of truth values (bool), expected floating-point numbers"),
        (lambda t: t.long(), "of integers (int64), expected floating-point numbers"),
        (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), "of quantized numbers (qint8), expected"),
    ],
)
def test_tensors_that_are_no_parameters_are_refused(tmp_path, change, message):
    model, path = nn.Linear(3, 2), tmp_path / "weights.pth"
    before = model.weight.clone()
    torch.save(model.state_dict() | {"weight": change(torch.ones(2, 3))}, path)
    with pytest.raises(GradcamError) as error:
        load_state(model, path)
    assert error.value.message.startswith(f"{path} does not hold the parameters of Linear: 'weight' {message}")
    assert model.weight.equal(before)


@pytest.mark.parametrize("key", KEYS)
def test_a_checkpoint_under_a_usual_name(tmp_path, caplog, key):
    model, path = nn.Linear(3, 2), tmp_path / "checkpoint.ckpt"
    torch.save({"epoch": 3, key: {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, "arch": "linear"}, path)
    load_state(model, path)
    assert model.weight.equal(torch.ones(2, 3)) and f"its state dict under '{key}' is taken" in caplog.text


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.module.", ""])
def test_a_prefix_of_all_names_is_left_out_and_said(tmp_path, caplog, prefix):
    model, path = nn.Sequential(nn.Linear(3, 2)), tmp_path / "weights.pth"
    torch.save({f"{prefix}0.weight": torch.ones(2, 3), f"{prefix}0.bias": torch.zeros(2)}, path)
    load_state(model, path)
    assert model[0].weight.equal(torch.ones(2, 3))
    assert caplog.text.count(f"begin with '{prefix}', which is left out") == bool(prefix)


def test_a_prefix_that_is_not_everywhere_is_a_fault(tmp_path):
    torch.save({"module.weight": torch.ones(2, 3), "bias.weight": torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(GradcamError, match=r"unexpected 'module\.weight' and 1 more"):
        load_state(nn.Linear(3, 2), tmp_path / "w.pth")


def test_the_tools_take_a_state_dict(tmp_path, capfd):
    from gradcam.tools import gradcam_import

    model = models.resnet18(8, 10, "cifar")
    path = tmp_path / "tiny.pth"
    torch.save(models.tinyml_architecture().state_dict() | {"fc.bias": torch.full((10,), 0.125)}, path)
    tool = ["gradcam.models:tinyml_architecture", "--state-dict", str(path)]
    assert gradcam_import.main([*tool, "--mlir-elide-elementsattrs-if-larger", "4"]) == 0
    out, err = capfd.readouterr()
    assert "dense<1.250000e-01> : tensor<10xf32>" in out and err == ""  # nor a warning of training mode
    torch.save(model.state_dict(), path)
    assert gradcam_import.main(tool) == 1
    assert capfd.readouterr().err.startswith(
        f"gradcam-import: error: {path} does not hold the parameters of ResNet18: "
    )
    assert gradcam_import.main(["model.pt2", "--state-dict", str(path)]) == 1
    assert "model.pt2 has weights of its own" in capfd.readouterr().err
