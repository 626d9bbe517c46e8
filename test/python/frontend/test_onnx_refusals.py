"""ONNX files that are refused, each in one line that says how to go on; files that try to do harm."""

import io
import re
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import SHAPE, by_onnxruntime, classifier, graph, node, saved

from gradcam import frontend
from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float

X = np.random.default_rng(2).standard_normal(SHAPE).astype(np.float32)
POOL = {"kernel_shape": [3, 3], "strides": [2, 2]}


def refused(path, shape=None, **kwargs):
    """The lines that a file is refused with."""
    with pytest.raises(GradcamError) as caught:
        frontend.import_model(frontend.load_model(path), shape, **kwargs)
    return caught.value.message.splitlines()


PAIRS = np.int64([[0, 1]])

#: Nodes that make "y" of "m", constants, the opset, and what they are refused with.
NODES = {
    "operator": ([node("LpPool", "m", kernel_shape=[2, 2])], {}, 17, "onnx.LpPool is not supported"),
    "dilation": ([node("AveragePool", "m", kernel_shape=[2, 2], dilations=[2, 2])], {}, 19, "has dilations 2x2, which"),
    "indices": ([node("MaxPool", "m", "r i", **POOL), node("Cast", "i", to=1)], {}, 17, "more than its first output"),
    "linear": ([node("Resize", "m _ s", mode="linear")], {"s": np.float32([1, 1, 2, 2])}, 17, "has mode linear"),
    "scale": ([node("Resize", "m _ s")], {"s": np.float32([1, 1, 1.5, 2])}, 17, "rows and columns that become"),
    "floor": ([node("Resize", "m _ s", nearest_mode="floor")], {"s": np.float32([1, 1, 2, 2])}, 17, "blocks of equal"),
    "slopes": ([node("PRelu", "m a")], {"a": np.ones((4, 8, 8), np.float32)}, 17, "has slopes of shape 4x8x8"),
    "layer norm": ([node("LayerNormalization", "m a")], {"a": np.ones(8, np.float32)}, 17, "normalizes by statistics"),
    "bound": ([node("Clip", "m a")], {"a": np.zeros(0, np.float32)}, 17, "onnx.Clip has inputs that do not fit: Index"),
    "gather": ([node("Gather", "m i", axis=1)], {"i": PAIRS}, 17, "by indices of shape 1x2; supported are a number"),
    "gather far": ([node("Gather", "m i", axis=1)], {"i": np.int64([4])}, 17, "at [4]; supported is a vector of"),
    "gather pairs": ([node("GatherND", "m i")], {"i": PAIRS}, 17, "by indices of shape 1x2; supported is a vector"),
    "tile": ([node("Tile", "m r")], {"r": np.int64([1, 2, 1, 1])}, 17, "onnx.Tile repeats 1x4x8x8 as 1x8x8x8"),
    "maxima": ([node("Max", "m m")], {}, 17, "onnx.Max of several tensors is not supported"),
    "training": ([node("Dropout", "m r t")], {"r": np.float32(0.5), "t": np.bool_(True)}, 17, "is in training mode"),
    "gemm": ([node("Flatten", "m", "v"), node("Gemm", "v v", transB=1)], {}, 17, "weights that are computed from"),
    "matmul": ([node("MatMul", "m m")], {}, 17, "of other than a tensor and a constant matrix is not supported"),
    "swish": ([node("Swish", "m", alpha=2.0)], {}, 24, "has alpha=2; supported is 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", NODES)
def test_nodes_that_are_refused(tmp_path, name):
    nodes, constants, opset, message = NODES[name]
    (line,) = refused(saved(classifier(nodes, constants, opset=opset), tmp_path))
    assert message in line and re.match(r"[A-Z]\w+ \w+: (onnx|aten)\.", line)


def test_all_that_is_not_supported_is_told_at_once(tmp_path):
    nodes = [node("Softsign", "m", "p"), node("Relu", "p", "r"), node("Shrink", "m", "d"), node("Add", "r d")]
    lines = refused(saved(classifier(nodes), tmp_path))
    assert lines == ["Softsign p: onnx.Softsign is not supported", "Shrink d: onnx.Shrink is not supported"]


def test_operators_of_other_domains(tmp_path):
    model = graph([node("Gelu", "x")], opset=20)
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    (line,) = refused(saved(model, tmp_path))
    assert line.startswith("Gelu y: com.microsoft.Gelu is no operator of ONNX; export the model without")


def test_a_split_that_says_another_number_of_outputs(tmp_path):
    model = graph([node("Split", "x", "a b", axis=1, num_outputs=2), node("Add", "a b")], opset=18)
    model.graph.node[0].attribute[1].i = 1
    assert refused(saved(model, tmp_path)) == ["Split a: onnx.Split has 2 outputs and says another number"]


def test_control_flow(tmp_path):
    branch = helper.make_graph([node("Relu", "x", "z")], "b", [], [helper.make_tensor_value_info("z", 1, SHAPE)])
    nodes = [node("ReduceMax", "x", "r", keepdims=0), node("Cast", "r", "c", to=9)]
    lines = refused(saved(graph([*nodes, node("If", "c", then_branch=branch, else_branch=branch)]), tmp_path))
    assert lines[0].startswith("If y: onnx.If is not supported, since it runs a graph of its own; export the model ")


def test_control_flow_that_reads_a_tensor_around_it(tmp_path):
    """torch-mlir cannot import it, also with a constant condition."""
    info = helper.make_tensor_value_info("z", 1, SHAPE)
    branches = [helper.make_graph([node(op, "m", "z")], op, [], [info]) for op in ("Relu", "Neg")]
    choice = node("If", "c", then_branch=branches[0], else_branch=branches[1])
    (line,) = refused(saved(classifier([choice], {"c": np.bool_([True])}), tmp_path))
    assert line.startswith("If y: onnx.If is not supported, since it runs a graph of its own; export the model ")


POINT = [node("Conv", "x w", "m"), node("GlobalAveragePool", "m", "q")]
KERNEL = {"w": np.random.default_rng(3).standard_normal((5, 4, 1, 1)).astype(np.float32)}


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
def test_probabilities_over_all_axes_from_one_on(tmp_path, name):
    """What opsets before 13 do: from the axis of the classes on the order of the classes is kept, and else lost."""
    taken, other = (graph([*POINT, node(name, "q", axis=axis)], KERNEL, opset=12) for axis in (1, 2))
    assert len(set(by_onnxruntime(other, X).ravel())) == 1
    (line,) = refused(saved(other, tmp_path))
    assert re.search("runs over dimension -?1 of 5x1, which is not that of the classes$", line)
    (logits,) = run_float(frontend.import_model(frontend.load_model(saved(taken, tmp_path))), X)
    assert np.array_equal(np.argsort(logits.ravel()), np.argsort(by_onnxruntime(taken, X).ravel()))


@pytest.mark.parametrize("name", ["ArgMax", "Hardmax"])
def test_what_loses_the_order_of_the_classes(tmp_path, name):
    last = [node(name, "q", "a", axis=1), node("Cast", "a", to=1)]
    assert refused(saved(graph([*POINT, *last], KERNEL), tmp_path)) == [f"{name} a: onnx.{name} is not supported"]


def tensor(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE)


def set_size(model, axis, size):
    del model.graph.value_info[:]
    model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size


def set_opset(model, version):
    model.opset_import[0].version = version


INVALID = "is no valid ONNX model: "

#: Changes of a model, and what it is refused with.
CHANGES = {
    "inputs": (lambda m: m.graph.input.append(tensor("b")), "the model takes 2 inputs; it must take one image"),
    "outputs": (lambda m: m.graph.output.append(tensor("m")), "the model gives 2 outputs; it must give the logits"),
    "batch": (lambda m: set_size(m, 0, 2), "takes the sizes 2,4,8,8, which are not those of one image; export it with"),
    "opset": (lambda m: set_opset(m, 99), f"has opset 99, onnx {onnx.__version__} knows"),
    "no opset": (lambda m: m.opset_import.__delitem__(0), "names 0 versions of the ONNX operators"),
    "version": (lambda m: setattr(m, "ir_version", 99), f"{INVALID}ValidationError: Your model ir_version 99 "),
    "tensor": (lambda m: m.graph.node[0].input.__setitem__(1, "gone"), INVALID),
    "cycle": (lambda m: m.graph.node[0].input.__setitem__(0, "y"), INVALID),
    "bytes": (lambda m: setattr(m.graph.initializer[0], "raw_data", b"abc"), INVALID),
    "size": (lambda m: m.graph.initializer[0].dims.__setitem__(0, 1 << 40), INVALID),
    "negative size": (lambda m: m.graph.initializer[0].dims.__setitem__(0, -4), INVALID),
    "attribute": (lambda m: setattr(m.graph.node[0].attribute[0], "name", "padding"), INVALID),
    "channels": (lambda m: set_size(m, 1, 5), "^Conv m: 'gradcam.conv2d' op weight expects 4 input channels"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_models_that_are_refused(tmp_path, name):
    change, message = CHANGES[name]
    model = classifier([node("Relu", "m")])
    change(model)
    (line,) = refused(saved(model, tmp_path))
    assert re.search(message, line)


def test_an_older_opset_that_cannot_be_converted(tmp_path, monkeypatch):
    def convert(model, version):
        raise RuntimeError("no adapter")

    monkeypatch.setattr("onnx.version_converter.convert_version", convert)
    path = saved(classifier([node("Relu", "m")], opset=12), tmp_path)
    remedy = "export it again, as by torch.onnx.export(..., opset_version=17)"
    assert refused(path) == [f"onnx cannot convert {path} from opset 12 to 13; {remedy}: RuntimeError: no adapter"]


def test_other_types_of_numbers(tmp_path):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT16, SHAPE) for name in "xy")
    made = helper.make_graph([node("Relu", "x")], "half", [x], [y])
    path = saved(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path)
    assert refused(path) == [f"{path} takes an image of float16; only float (f32) is supported: export it so"]


def test_a_target_layer_that_is_none(tmp_path):
    path = saved(classifier([node("Relu", "m", "r"), node("GlobalAveragePool", "r")]), tmp_path)
    lines = refused(path, target_layer=["Relu", "f", "Relu r", "r", "Relu r"])
    assert lines[0].startswith("target layer 'Relu' is neither a node nor the output of one; did you mean 'Relu r'?")
    assert lines[1].startswith("target layer 'f' gives a tensor of 2 dimensions; it must give a feature map, 1xCxHxW")
    assert lines[2:] == ["target layer 'r' is named twice", "target layer 'Relu r' is named twice"]


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08\x12\x07pytorch", bytes(100), b"\x3a\x10abc"])
def test_files_that_hold_no_model(tmp_path, content):
    path = tmp_path / "file.onnx"
    path.write_bytes(content)
    (line,) = refused(path)
    assert re.search("is no ONNX file: (it holds no graph, or is cut short|.* holds nothing that is known)", line)


def test_a_file_that_is_missing(tmp_path):
    assert refused(tmp_path / "no.onnx") == [f"no file {tmp_path}/no.onnx"]


def test_an_onnx_file_by_another_name(tmp_path):
    path = saved(classifier([node("Relu", "m")]), tmp_path, "model.pt")
    assert "holds an ONNX graph" in refused(path)[0] and "an .onnx file" in refused(path)[0]


def test_without_the_package(tmp_path, monkeypatch):
    path = saved(classifier([node("Relu", "m")]), tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert refused(path) == [f"{path} needs the package onnx; install it by pip install 'gradcam-mlir[onnx]'"]


def test_weights_given_beside_it(tmp_path):
    with pytest.raises(GradcamError, match="has weights of its own"):
        frontend.load_model(saved(classifier([node("Relu", "m")]), tmp_path), tmp_path / "w.pth")


def external(folder, location, inside=True):
    """A model whose weights lie in a file."""
    model = classifier([node("Relu", "m")])
    tensor = next(t for t in model.graph.initializer if t.name == "conv.weight")
    data = numpy_helper.to_array(tensor).tobytes()
    (folder / "weights.bin").write_bytes(b"1234" + data)
    wanted = by_onnxruntime(model, X)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "4", "length": str(len(data))}.items():
        tensor.external_data.add(key=key, value=value)
    (folder / "inner").mkdir(exist_ok=True)
    return saved(model, folder / "inner" if not inside else folder), wanted


def test_weights_in_a_file_beside_the_model(tmp_path, monkeypatch):
    path, wanted = external(tmp_path, "weights.bin")
    monkeypatch.chdir("/")
    (logits,) = run_float(frontend.import_model(frontend.load_model(path)), X)
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("location", ["../weights.bin", "{}/weights.bin", "link.bin", "none.bin", "", "."])
def test_weights_outside_of_the_folder_are_not_read(tmp_path, monkeypatch, location):
    path, _ = external(tmp_path, location.format(tmp_path), inside=False)
    (path.parent / "link.bin").symlink_to(tmp_path / "weights.bin")
    opened, original = [], io.open
    monkeypatch.setattr(io, "open", lambda name, *rest: opened.append(str(name)) or original(name, *rest))
    (line,) = refused(path)
    assert "the weights 'conv.weight' lie in '" in line and "which is no file in the folder of the model" in line
    assert opened and not any("weights.bin" in name for name in opened)


def test_a_weights_file_that_is_too_short(tmp_path):
    path, _ = external(tmp_path, "weights.bin")
    (tmp_path / "weights.bin").write_bytes(b"12345678")
    assert INVALID in refused(path)[0]


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("ConstantOfShape", "s", "c")], {"s": np.int64([1 << 20, 1 << 20])}),
        ([node("Expand", "v s", "c")], {"v": np.float32(1), "s": np.int64([1 << 20, 1 << 20])}),
        ([node("Range", "a b d", "c")], {"a": np.float32(0), "b": np.float32(1e12), "d": np.float32(1)}),
        ([node("Tile", "v s", "c")], {"v": np.ones((1, 1), np.float32), "s": np.int64([1 << 20, 1 << 20])}),
    ],
)
def test_constants_that_would_fill_the_memory(tmp_path, nodes, constants):
    model = classifier([*nodes, node("ReduceSum", "c", "t", keepdims=0), node("Add", "m t")], constants)
    (line,) = refused(saved(model, tmp_path))
    assert re.search(r"the constant 'c' of node '\w+ c' has [\d,]+ numbers; the most are 268,435,456", line)
