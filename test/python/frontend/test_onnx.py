"""ONNX files: exports of PyTorch, target layers, input shapes, files on the way to RTL."""

import warnings

import numpy as np
import pytest
import torch
from onnx_models import SHAPE, by_onnxruntime, by_torch, classifier, graph, node, saved
from torch import nn

import gradcam
from gradcam import PassManager, frontend
from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float

RNG = np.random.default_rng(1)
IMAGE = (1, 3, 16, 16)
POOL = {"kernel_shape": [3, 3], "strides": [2, 2]}


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


class Net(nn.Module):
    """A small residual network."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU6())
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.fc = nn.Linear(8, 5)
        self.input_shape = IMAGE
        nn.init.uniform_(self.stem[1].running_var, 0.5, 1)
        self.eval()

    def forward(self, x):
        x = self.stem(x)
        x = self.pool(x + self.block(x))
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


def exported(folder, opset, dynamo=False, **options):
    """A network and the file that PyTorch exports of it."""
    torch.manual_seed(0)
    net, path = Net(), folder / "net.onnx"
    options |= {"opset_version": opset, "dynamo": dynamo, "verbose": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.zeros(IMAGE),), path, **options)
    return net, path


#: Options of an export that leaves the batch norm as it is.
UNFOLDED = {"do_constant_folding": False, "training": torch.onnx.TrainingMode.PRESERVE}


def maps(model, layer, image):
    """Logits and map of a model's explanation in f32."""
    module = frontend.import_model(model, target_layer=layer)
    return run_float(PassManager.parse("gradcam-backward-pipeline").run(module), image)


@pytest.mark.parametrize(("opset", "dynamo"), [(13, False), (17, False), (20, False), (18, True), (23, True)])
def test_exports_of_pytorch(tmp_path, opset, dynamo):
    """Logits of onnxruntime, and the map of torch.export's import."""
    net, path = exported(tmp_path, opset, dynamo)
    model, image = frontend.load_model(path), f32(*IMAGE)
    layers = frontend.target_layers(model)
    assert len(layers) == 7
    logits, found = maps(model, layers[3], image)
    np.testing.assert_allclose(logits, by_onnxruntime(path, image), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found, maps(net, "block", image)[1], rtol=1e-4, atol=1e-4)


def test_batch_norms_that_are_kept(tmp_path):
    net, path = exported(tmp_path, 17, **UNFOLDED)
    module = frontend.import_model(frontend.load_model(path), target_layer="/block/block.1/Clip")
    assert "gradcam.batch_norm" in str(module) and "gradcam.hardtanh" in str(module)
    image = f32(*IMAGE)
    np.testing.assert_allclose(maps(net, "block", image)[0], by_onnxruntime(path, image), rtol=1e-4, atol=1e-4)


def test_a_file_becomes_rtl(tmp_path):
    """Bit-exact, with the cycles that are predicted, and the integers that the module itself becomes."""
    net, path = exported(tmp_path, 17, **UNFOLDED)
    images, results = f32(4, *IMAGE[1:]), []
    for model, layer in ((path, "/pool/MaxPool"), (net, "pool")):
        design = gradcam.compile(model, tmp_path / "design", [layer], pe="4x4", calibration=images)
        results.append(design.simulate(images))
        assert all(result.cycles == design.program.cycles for result in results[-1])
    for result, of_module in zip(*results, strict=True):
        np.testing.assert_array_equal(result.logits, of_module.logits)
        np.testing.assert_array_equal(result.heatmap, of_module.heatmap)
    assert len({result.logits.tobytes() for result in results[0]}) == len(images)


def test_target_layers_by_node_and_by_tensor(tmp_path):
    model = frontend.load_model(saved(classifier([node("Relu", "m", "r"), node("MaxPool", "r", **POOL)]), tmp_path))
    assert frontend.target_layers(model) == ["Conv m", "Relu r", "MaxPool y"]
    image = f32(*SHAPE)
    for layer, tensor in (("Relu r", "r"), ("MaxPool y", "y")):
        for one, other in zip(maps(model, layer, image), maps(model, tensor, image), strict=True):
            np.testing.assert_array_equal(one, other)
    assert not np.array_equal(maps(model, "r", image)[1], maps(model, "m", image)[1])


def test_nodes_without_names_have_those_of_their_outputs(tmp_path):
    model = classifier([node("Relu", "m", "r"), node("Relu", "r")])
    for item in model.graph.node:
        item.name = ""
    model.graph.node[1].name = model.graph.node[2].name = "same"
    loaded = frontend.load_model(saved(model, tmp_path))
    assert frontend.target_layers(loaded) == ["m", "same", "y"]
    module = frontend.import_model(loaded, target_layer="y")
    names = [op.location.name_str for op in module.body.operations[0].regions[0].blocks[0].operations]
    assert {"m", "same", "y", "y.target", "logits"} <= set(names) and len(names) == len(set(names))


def set_sizes(model, sizes):
    """Declares the input with other sizes: a number, a name, or None for no size at all."""
    del model.graph.value_info[:]
    for info, shape in ((model.graph.input[0], sizes), (model.graph.output[0], [sizes[0], None])):
        for dim, size in zip(info.type.tensor_type.shape.dim, shape, strict=True):
            dim.Clear()
            if size is not None:
                setattr(dim, "dim_param" if isinstance(size, str) else "dim_value", size)


def refused(path, shape=None, **kwargs):
    """The one line that a file is refused with."""
    with pytest.raises(GradcamError) as caught:
        frontend.import_model(frontend.load_model(path), shape, **kwargs)
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("batch", ["n", -1, None])
@pytest.mark.parametrize("shape", [None, SHAPE])
def test_a_batch_that_is_not_fixed_becomes_1(tmp_path, caplog, batch, shape):
    model, image = classifier([node("Relu", "m")]), f32(*SHAPE)
    set_sizes(model, [batch, *SHAPE[1:]])
    path = saved(model, tmp_path)
    module = frontend.import_model(frontend.load_model(path), shape)
    assert "the batch size of" in caplog.text and "is not fixed; it is taken as 1" in caplog.text
    np.testing.assert_allclose(run_float(module, image)[0], by_onnxruntime(path, image), atol=1e-4)


def test_sizes_that_are_not_fixed_come_from_the_input_shape(tmp_path):
    nodes = [node("Conv", "x w", "c"), node("GlobalAveragePool", "c", "g"), node("Flatten", "g")]
    model, shape = graph(nodes, {"w": f32(3, 4, 3, 3)}), (1, 4, 6, 9)
    set_sizes(model, ["n", 4, "h", None])
    path, image = saved(model, tmp_path), f32(*shape)
    loaded = frontend.load_model(path)
    assert "tensor<1x4x6x9xf32>" in str(frontend.import_model(loaded, shape, "Conv c"))
    assert frontend.target_layers(loaded, shape) == ["Conv c", "GlobalAveragePool g"]
    np.testing.assert_allclose(by_torch(path, image, shape), by_onnxruntime(path, image), atol=1e-4)
    assert refused(path) == f"{path} takes the sizes ?,4,?,?; give the input shape, 1,C,H,W"
    assert refused(path, (1, 3, 6, 9)) == f"{path} has the input shape ?,4,?,?, not 1,3,6,9"
