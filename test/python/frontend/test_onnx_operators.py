"""Every operator of ONNX that is taken, against onnxruntime."""

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import SHAPE, by_onnxruntime, by_torch, classifier, graph, node, saved

from gradcam import frontend
from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float

RNG = np.random.default_rng(1)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*numbers):
    return np.array(numbers, np.int64)


POOL = {"kernel_shape": [3, 3], "strides": [2, 2]}
WINDOW = {"kernel_shape": [3, 2], "strides": [2, 3]}

#: By the name of the case the nodes, constants, the opset, 13 where none is named, and the shape, else `SHAPE`.
CASES = {
    "relu": ([node("Relu", "x")], {}),
    "leaky relu": ([node("LeakyRelu", "x", alpha=0.2)], {}),
    "leaky relu, default": ([node("LeakyRelu", "x")], {}),
    "prelu": ([node("PRelu", "x a")], {"a": f32(4, 1, 1)}),
    "prelu, one slope": ([node("PRelu", "x a")], {"a": f32(1)}),
    "clip": ([node("Clip", "x a b")], {"a": np.float32(-0.3), "b": np.float32(0.5)}),
    "clip at 6": ([node("Clip", "x a b")], {"a": np.float32(0), "b": np.float32(0.6)}),
    "clip below": ([node("Clip", "x a")], {"a": np.float32(0)}),
    "clip above": ([node("Clip", "x _ b")], {"b": np.float32(0.1)}),
    "clip by nothing": ([node("Clip", "x")], {}),
    "max": ([node("Max", "x a")], {"a": np.float32(0.25)}),
    "max, first": ([node("Max", "a x")], {"a": f32(1)}),
    "min": ([node("Min", "x a")], {"a": np.float32(0.25)}),
    "sigmoid": ([node("Sigmoid", "x")], {}),
    "erf": ([node("Erf", "x", "e"), node("Mul", "e x")], {}),
    "exp": ([node("Exp", "x")], {}),
    "hard sigmoid": ([node("HardSigmoid", "x")], {}),
    "hard sigmoid of PyTorch": ([node("HardSigmoid", "x", alpha=1 / 6)], {}),
    "hard sigmoid, others": ([node("HardSigmoid", "x", alpha=1 / 6, beta=0.4)], {}),
    "hard swish": ([node("HardSwish", "x")], {}, 14),
    "tanh": ([node("Tanh", "x")], {}),
    "elu": ([node("Elu", "x", alpha=0.7)], {}),
    "selu": ([node("Selu", "x")], {}),
    "softplus": ([node("Softplus", "x")], {}),
    "mish": ([node("Mish", "x")], {}, 18),
    "gelu": ([node("Gelu", "x")], {}, 20),
    "gelu by tanh": ([node("Gelu", "x", approximate="tanh")], {}, 20),
    "softmax": ([node("Softmax", "x", axis=1)], {}),
    "log softmax": ([node("LogSoftmax", "x", axis=1)], {}),
    "identity": ([node("Identity", "x")], {}),
    "dropout": ([node("Dropout", "x")], {}),
    "cast": ([node("Cast", "x", to=1)], {}),
    "conv": ([node("Conv", "x w b", pads=[1, 0, 1, 0], strides=[2, 1])], {"w": f32(5, 4, 3, 3), "b": f32(5)}),
    "conv, uneven pads": ([node("Conv", "x w", pads=[0, 1, 1, 2])], {"w": f32(5, 4, 3, 3)}),
    "conv, dilated": ([node("Conv", "x w", dilations=[2, 1])], {"w": f32(5, 4, 3, 3)}),
    "conv, groups": ([node("Conv", "x w", group=2)], {"w": f32(6, 2, 3, 3)}),
    "conv, depthwise": ([node("Conv", "x w", group=4, auto_pad="SAME_UPPER")], {"w": f32(4, 1, 3, 3)}),
    "conv, same upper": ([node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 2])], {"w": f32(5, 4, 3, 3)}),
    "conv, same lower": ([node("Conv", "x w", auto_pad="SAME_LOWER", strides=[2, 2])], {"w": f32(5, 4, 3, 3)}),
    "conv, same, even": ([node("Conv", "x w", auto_pad="SAME_UPPER")], {"w": f32(5, 4, 4, 2)}),
    "conv, valid": ([node("Conv", "x w", auto_pad="VALID", strides=[2, 2])], {"w": f32(5, 4, 3, 3)}),
    "batch norm": (
        [node("BatchNormalization", "x g b e v", epsilon=1e-3)],
        {"g": f32(4), "b": f32(4), "e": f32(4), "v": f32(4) ** 2 + 0.1},
    ),
    "max pool": ([node("MaxPool", "x", **WINDOW)], {}),
    "max pool, pads": ([node("MaxPool", "x", pads=[1, 1, 1, 1], **POOL)], {}),
    "max pool, uneven pads": ([node("MaxPool", "x", pads=[0, 1, 1, 0], **POOL)], {}),
    "max pool, ceil": ([node("MaxPool", "x", ceil_mode=1, **POOL)], {}),
    "max pool, ceil without effect": ([node("MaxPool", "x", ceil_mode=1, kernel_shape=[2, 2], strides=[2, 2])], {}),
    "max pool, same upper": ([node("MaxPool", "x", auto_pad="SAME_UPPER", **POOL)], {}),
    "max pool, same lower": ([node("MaxPool", "x", auto_pad="SAME_LOWER", **POOL)], {}),
    "max pool, dilated": ([node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 3])], {}),
    "average pool": ([node("AveragePool", "x", **WINDOW)], {}),
    "average pool, pads": ([node("AveragePool", "x", pads=[1, 1, 1, 1], **POOL)], {}),
    "average pool, counted": ([node("AveragePool", "x", pads=[1, 1, 1, 1], count_include_pad=1, **POOL)], {}),
    "average pool, uneven": ([node("AveragePool", "x", pads=[0, 0, 1, 1], count_include_pad=1, **POOL)], {}),
    "average pool, ceil": ([node("AveragePool", "x", ceil_mode=1, **POOL)], {}, 19),
    "average pool, ceil, counted": (
        [node("AveragePool", "x", ceil_mode=1, pads=[1, 1, 1, 1], count_include_pad=1, **POOL)], {}, 19, (1, 4, 7, 8)
    ),
    "average pool, ceil, pads": ([node("AveragePool", "x", ceil_mode=1, pads=[1, 1, 1, 1], **POOL)], {}, 19),
    "average pool, uneven, uncounted": ([node("AveragePool", "x", pads=[0, 0, 1, 1], **POOL)], {}),
    "average pool, uneven, ceil": (
        [node("AveragePool", "x", pads=[0, 1, 1, 0], ceil_mode=1, **POOL)], {}, 19, (1, 4, 8, 7)
    ),
    "average pool, uneven, ceil, counted": (
        [node("AveragePool", "x", pads=[0, 1, 0, 0], ceil_mode=1, count_include_pad=1, **POOL)], {}, 19, (1, 4, 8, 8)
    ),
    "average pool, same": ([node("AveragePool", "x", auto_pad="SAME_UPPER", **POOL)], {}),
    "average pool, same, even": (
        [node("AveragePool", "x", auto_pad="SAME_UPPER", kernel_shape=[2, 2], strides=[2, 2])], {}
    ),
    "global average pool": ([node("GlobalAveragePool", "x")], {}),
    "global max pool": ([node("GlobalMaxPool", "x")], {}),
    "add": ([node("Add", "x x")], {}),
    "add a number": ([node("Add", "x a")], {"a": np.float32(3)}),
    "add per channel": ([node("Add", "a x")], {"a": f32(4, 1, 1)}),
    "subtract from": ([node("Sub", "a x")], {"a": np.float32(3)}),
    "multiply": ([node("Mul", "x a")], {"a": f32(1, 4, 1, 1)}),
    "multiply maps": ([node("Mul", "x x")], {}),
    "divide": ([node("Div", "x a")], {"a": np.float32(3)}),
    "negative": ([node("Neg", "x")], {}),
    "sum": ([node("Sum", "x x x")], {}),
    "mean of tensors": ([node("Mean", "x x a")], {"a": np.float32(1)}),
    "power": ([node("Pow", "x a")], {"a": np.float32(2)}),
    "concat": ([node("Concat", "x x x", axis=1)], {}),
    "concat, from behind": ([node("Concat", "x x", axis=-3)], {}),
    "slice": ([node("Slice", "x s e a")], {"s": ints(1, -7), "e": ints(3, 100), "a": ints(1, -1)}),
    "slice, all axes": ([node("Slice", "x s e")], {"s": ints(0, 1, 0, 2), "e": ints(1, 3, 8, -1)}),
    "slice, steps": ([node("Slice", "x s e a t")], {"s": ints(1), "e": ints(8), "a": ints(3), "t": ints(2)}),
    "slice, channels reversed": (
        [node("Slice", "x s e a t")], {"s": ints(-1), "e": ints(-(1 << 31)), "a": ints(1), "t": ints(-1)}
    ),
    "slice, channels backwards": (
        [node("Slice", "x s e a t")], {"s": ints(9), "e": ints(0), "a": ints(-3), "t": ints(-2)}
    ),
    "slice, rows reversed": (
        [node("Slice", "x s e a t")], {"s": ints(6), "e": ints(-8), "a": ints(2), "t": ints(-3)}
    ),
    "split": ([node("Split", "x s", "a b", axis=1), node("Concat", "b a", axis=1)], {"s": ints(1, 3)}),
    "split, equal": ([node("Split", "x", "a b", axis=-3), node("Sub", "b a")], {}, 13),
    "split, number": ([node("Split", "x", "a b c", axis=2, num_outputs=3), node("Concat", "c b a", axis=2)], {}, 18),
    "gather": ([node("Gather", "x i", axis=2)], {"i": np.int64(-2)}),
    "gather, channels": ([node("Gather", "x i", axis=-3)], {"i": ints(3, -4, 1)}),
    "gather, 32 bits": ([node("Gather", "x i", axis=1)], {"i": np.int32([2])}),
    "gather, rows": ([node("Gather", "x i", axis=2)], {"i": ints(3, 0)}),
    "gather, twice": ([node("Gather", "x i", axis=1)], {"i": ints(3, 0, 3)}),
    "gather, by an index": (
        [node("Transpose", "x", "t", perm=[1, 0, 2, 3]), node("GatherND", "t i", "g"),
         node("Transpose", "g", perm=[1, 0, 2, 3])],
        {"i": ints(3, -4, 1)[:, None]},
    ),
    "expand": ([node("ReduceMax", "x", "g", axes=[2, 3]), node("Expand", "g s", "e"), node("Mul", "x e")],
               {"s": ints(8, 8)}),
    "expand by a shape": (
        [node("GlobalAveragePool", "x", "g"), node("Shape", "x", "s"), node("Expand", "g s", "e"),
         node("Mul", "e x")], {},
    ),
    "expand to its own": ([node("Expand", "x s")], {"s": ints(1, 4, 1, 1)}),
    "expand, added": ([node("GlobalMaxPool", "x", "g"), node("Expand", "g s", "e"), node("Add", "x e")],
                      {"s": ints(8, 8)}),
    "tile": ([node("GlobalAveragePool", "x", "g"), node("Tile", "g s", "e"), node("Mul", "e x")],
             {"s": ints(1, 1, 8, 8)}),
    "tile once": ([node("Tile", "x s")], {"s": ints(1, 1, 1, 1)}),
    "conv along channels": (
        [node("GlobalAveragePool", "x", "g"), node("Squeeze", "g a", "v"), node("Transpose", "v", "t", perm=[0, 2, 1]),
         node("Conv", "t w b", "c", pads=[1, 1]), node("Transpose", "c", "u", perm=[0, 2, 1]),
         node("Unsqueeze", "u a", "n"), node("Sigmoid", "n", "s"), node("Mul", "x s")],
        {"a": ints(-1), "w": f32(1, 1, 3), "b": f32(1)},
    ),
    "conv along channels, uneven": (
        [node("GlobalMaxPool", "x", "g"), node("Reshape", "g s", "t"), node("Conv", "t w", "c", pads=[0, 2]),
         node("Reshape", "c r", "n"), node("Mul", "x n")],
        {"s": ints(1, 1, 4), "r": ints(1, 4, 1, 1), "w": f32(1, 1, 3)},
    ),
    "conv along rows": (
        [node("Reshape", "x s", "t"), node("Conv", "t w", "c", group=2, dilations=[2], strides=[3])],
        {"s": ints(1, 4, 64), "w": f32(6, 2, 3)},
    ),
    "conv along channels, same": (
        [node("GlobalMaxPool", "x", "g"), node("Reshape", "g s", "t"), node("Conv", "t w", "c", auto_pad="SAME_UPPER"),
         node("Reshape", "c r", "n"), node("Mul", "x n")],
        {"s": ints(1, 1, 4), "r": ints(1, 4, 1, 1), "w": f32(1, 1, 5)},
    ),
    "reshape": ([node("Reshape", "x s")], {"s": ints(0, -1)}),
    "flatten": ([node("Flatten", "x")], {}),
    "flatten, axis": ([node("Flatten", "x", axis=-2)], {}),
    "squeeze": ([node("Squeeze", "x a")], {"a": ints(0)}),
    "squeeze all": ([node("Squeeze", "x")], {}),
    "unsqueeze": ([node("Unsqueeze", "x a")], {"a": ints(0, -1)}),
    "transpose": ([node("Transpose", "x", perm=[0, 2, 3, 1])], {}),
    "transpose, reversed": ([node("Transpose", "x")], {}),
    "pad": ([node("Pad", "x p")], {"p": ints(0, 0, 1, 2, 0, 0, 3, 0)}),
    "pad, value": ([node("Pad", "x p v")], {"p": ints(0, 0, 0, 1, 0, 0, 1, 0), "v": np.float32(2)}),
    "pad, axes": ([node("Pad", "x p _ a")], {"p": ints(1, 2, 3, 4), "a": ints(-1, 2)}, 18),
    "pad, channels": ([node("Pad", "x p")], {"p": ints(0, 1, 0, 0, 0, 2, 0, 0)}),
    "mean": ([node("ReduceMean", "x", axes=[2, 3], keepdims=0)], {}),
    "mean, axes as input": ([node("ReduceMean", "x a")], {"a": ints(-1, -2)}, 18),
    "mean of all": ([node("ReduceMean", "x")], {}),
    "mean of none": ([node("ReduceMean", "x", noop_with_empty_axes=1)], {}, 18),
    "maximum": ([node("ReduceMax", "x", axes=[3])], {}),
    "sum over": ([node("ReduceSum", "x a", keepdims=0)], {"a": ints(2, 3)}),
    "gemm": ([node("Flatten", "x", "v"), node("Gemm", "v w b", transB=1)], {"w": f32(5, 256), "b": f32(5)}),
    "gemm, factors": (
        [node("Flatten", "x", "v"), node("Gemm", "v w b", alpha=0.5, beta=2.0)], {"w": f32(256, 5), "b": f32(1, 5)}
    ),
    "gemm, transposed": (
        [node("Reshape", "x s", "v"), node("Gemm", "v w", transA=1)], {"s": ints(256, 1), "w": f32(256, 5)}
    ),
    "matmul": ([node("Flatten", "x", "v"), node("MatMul", "v w")], {"w": f32(256, 5)}),
    "matmul, bias": (
        [node("Flatten", "x", "v"), node("MatMul", "v w", "p"), node("Add", "b p")], {"w": f32(256, 5), "b": f32(5)}
    ),
    "matmul of a map": ([node("MatMul", "x w")], {"w": f32(8, 5)}),
    "resize": ([node("Resize", "x _ s", mode="nearest")], {"s": np.float32([1, 1, 2, 3])}),
    "resize to": (
        [node("Resize", "x _ _ s", coordinate_transformation_mode="asymmetric", nearest_mode="floor")],
        {"s": ints(1, 4, 16, 8)},
    ),
    "resize, other modes": (
        [node("Resize", "x _ s", coordinate_transformation_mode="pytorch_half_pixel",
              nearest_mode="round_prefer_ceil")],
        {"s": np.float32([1, 1, 1, 2])},
    ),
    "resize of old": ([node("Upsample", "x s")], {"s": np.float32([1, 1, 3, 2])}, 9),
    "shape of another": (
        [node("Shape", "x", "s"), node("Gather", "s i", "n"), node("Unsqueeze", "n z", "u"),
         node("Concat", "u r", "t", axis=0), node("Reshape", "x t")],
        {"i": np.int64(0), "z": ints(0), "r": ints(-1)}, 17,
    ),
    "constants of constants": (
        [node("Transpose", "w", "v", perm=[1, 0, 2, 3]), node("Mul", "v c", "u"), node("Conv", "x u")],
        {"w": f32(4, 6, 3, 3), "c": np.float32(0.5)},
    ),
}  # fmt: skip

#: The newest opset that onnxruntime runs, and the first one of an operator that has other forms before it.
NEWEST = 24
CHANGED = {"Upsample": 10, "Split": 18, "ReduceMean": 18, "ReduceMax": 18}


@pytest.mark.parametrize("is_newest", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_operators_equal_onnxruntime(tmp_path, name, is_newest):
    """At the oldest opset of a case and at the newest that takes its form."""
    nodes, constants, opset, shape = *CASES[name], *(13, SHAPE)[len(CASES[name]) - 2 :]
    last = min([CHANGED[n.op_type] - 1 for n in nodes if opset < CHANGED.get(n.op_type, 0)] + [NEWEST])
    model, image = graph(nodes, constants, shape, last if is_newest else opset), f32(*shape)
    got = by_torch(saved(model, tmp_path), image)
    np.testing.assert_allclose(got, by_onnxruntime(model, image), rtol=1e-5, atol=1e-5)


#: Cases that have no form at level 1 between a convolution and a classifier, and the first words of the reason.
REFUSED = {
    "elu": "aten.elu is not supported",
    "erf": "aten.erf is not supported",
    "exp": "aten.exp is not supported",
    "selu": "aten.elu is not supported",
    "softplus": "aten.softplus is not supported",
    "softmax": "aten.softmax.int is followed by another op",
    "log softmax": "aten.log_softmax.int is followed by another op",
    "power": "aten.pow.Tensor_Tensor is not supported",
    "slice": "aten.slice.Tensor takes or moves elements of dimension",
    "slice, all axes": "aten.slice.Tensor takes or moves elements of dimension",
    "slice, steps": "aten.slice.Tensor takes or moves elements of dimension",
    "split, number": "aten.slice.Tensor takes or moves elements of dimension",
    "slice, rows reversed": "aten.slice.Tensor takes or moves elements of dimension 2 of 1x4x8x8; only channels",
    "conv along channels, uneven": "aten.pad takes a tensor of shape 1x1x4",
    "conv along rows": "aten.conv1d takes a tensor of shape 1x4x64; supported is one along channels",
    "gather, rows": "aten.index_select takes or moves elements of dimension 2 of 1x4x8x8; only channels",
    "gather, twice": "aten.index_select takes one element of dimension 1 more than once",
    "expand, added": "aten.expand repeats 1x4x1x1 as 1x4x8x8; that is only supported for a factor of a product",
    "gather": "aten.select.int takes one of the 8 elements of dimension 2",
    "pad, value": "aten.pad pads with 2.0",
    "pad, channels": "aten.pad pads by",
    "mean of all": "aten.mean.dim takes the mean over",
    "matmul of a map": "aten.linear takes a tensor of shape 1x4x8x8",
}

#: Cases whose result a Flatten does not make a vector of one image of.
OTHER_SHAPES = {"flatten, axis", "squeeze", "squeeze all", "transpose, reversed", "gemm, transposed"}


@pytest.mark.parametrize("name", [name for name in CASES if name not in OTHER_SHAPES])
def test_logits_of_level_1_equal_onnxruntime(tmp_path, name):
    nodes, constants, opset, shape = *CASES[name], *(13, SHAPE)[len(CASES[name]) - 2 :]
    model, image = classifier(between(nodes), constants, shape, opset), f32(*shape)
    loaded = frontend.load_model(saved(model, tmp_path))
    if name in REFUSED:
        with pytest.raises(GradcamError, match=REFUSED[name]):
            frontend.import_model(loaded)
        return
    (logits,) = run_float(frontend.import_model(loaded), image)
    wanted = by_onnxruntime(model, image)
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4)
    assert np.abs(logits - np.roll(wanted, 1)).max() > 1e-2


def between(nodes):
    """The nodes with "m" in place of "x", and "y" as their last output."""
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    for copy in copies:
        copy.input[:] = ["m" if name == "x" else name for name in copy.input]
    copies[-1].output[0] = "y"
    return copies


@pytest.mark.parametrize("opset", [7, 9, 11, 12])
def test_older_opsets_are_converted(tmp_path, opset):
    nodes = [
        *(node("Relu", "m", "r"), node("Dropout", "r", "d"), node("BatchNormalization", "d g g g g", "b")),
        node("MaxPool", "b", **POOL),
    ]
    model, image = classifier(nodes, {"g": np.abs(f32(4))}, opset=opset), f32(*SHAPE)
    if opset < 9:  # every constant is an input, too, with a default
        inputs = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer]
        model.graph.input.extend(inputs)
    loaded = frontend.load_model(saved(model, tmp_path))
    assert loaded.proto.opset_import[0].version == 13
    (logits,) = run_float(frontend.import_model(loaded), image)
    np.testing.assert_allclose(logits, by_onnxruntime(model, image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("opset", range(13, onnx.defs.onnx_opset_version() + 1))
def test_every_opset_from_13_on(tmp_path, opset):
    """Against the same network at opset 13 by onnxruntime, which does not know the newest."""
    nodes = [
        *(node("Relu", "m", "r"), node("Clip", "r a b", "c"), node("Add", "c r", "s")),
        *(node("MaxPool", "s", "p", **POOL), node("BatchNormalization", "p g g g g", "n")),
        *(node("AveragePool", "n", "v", **POOL), node("Cast", "v", "k", to=1), node("Reshape", "k z")),
    ]
    constants = {"a": np.float32(0), "b": np.float32(0.4), "z": ints(1, -1), "g": np.abs(f32(4))}
    image = f32(*SHAPE)
    loaded = frontend.load_model(saved(classifier(nodes, constants, opset=opset), tmp_path))
    (logits,) = run_float(frontend.import_model(loaded), image)
    np.testing.assert_allclose(logits, by_onnxruntime(classifier(nodes, constants, opset=13), image), atol=1e-4)
