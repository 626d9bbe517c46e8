"""ONNX models in the QDQ format: scales that are used, models that are taken as float, forms that are refused."""

import numpy as np
import pytest
from onnx import TensorProto
from onnx_models import SHAPE, by_onnxruntime, classifier, graph, node, saved
from torch_mlir import ir

from gradcam import frontend
from gradcam.compiler import Compilation, Settings
from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float
from gradcam.quant_types import is_unsigned, scale

FITTING = "feature maps have scales that fit, int8 with a zero point of 0, or bytes from 0 on; others are measured"
POOL = {"kernel_shape": [3, 3], "strides": [2, 2]}
RNG = np.random.default_rng(5)
IMAGES = RNG.uniform(-1, 1, (4, *SHAPE[1:])).astype(np.float32)
SCALES = RNG.uniform(0.002, 0.01, 6).astype(np.float32)
WEIGHTS = RNG.integers(-127, 128, (6, 4, 3, 3)).astype(np.int8)
WEIGHTS[:, 0, 0, 0] = 127  # as quantizers scale a channel
BIAS = RNG.integers(-500, 500, 6).astype(np.int32)
STEPS = {"x": np.float32(1 / 127), "r": np.float32(0.0125)}


def quantized(zero=0, dtype=np.int8):
    """A model with int8 weights per channel, and feature maps that are quantized with a zero point."""

    def pair(name, out):
        tail = f"{name}_step {name}_zero"
        return node("QuantizeLinear", f"{name} {tail}", f"{out}_q"), node("DequantizeLinear", f"{out}_q {tail}", out)

    nodes = [
        *pair("x", "xq"),
        *(node("DequantizeLinear", "wi ws wz", "w", axis=0), node("DequantizeLinear", "bi bs", "b", axis=0)),
        *(node("Conv", "xq w b", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r"), *pair("r", "rq")),
        *(node("GlobalAveragePool", "rq", "g"), node("Flatten", "g", "f"), node("Gemm", "f fw", "logits")),
    ]
    constants = {f"{name}_step": step for name, step in STEPS.items()}
    constants |= {f"{name}_zero": np.array(zero, dtype) for name in STEPS}
    return graph(nodes, constants | weights())


def weights():
    return {
        **{"wi": WEIGHTS, "ws": SCALES, "wz": np.zeros(6, np.int8), "bi": BIAS, "bs": SCALES * STEPS["x"]},
        "fw": np.random.default_rng(6).standard_normal((6, 3)).astype(np.float32),
    }


def as_float():
    """The same model with the weights that its integers stand for, and no rounding of feature maps."""
    nodes = [node("Conv", "x w b", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r"), node("GlobalAveragePool", "r", "g")]
    nodes += [node("Flatten", "g", "f"), node("Gemm", "f fw", "logits")]
    constants = {"w": WEIGHTS * SCALES[:, None, None, None], "b": BIAS * (SCALES * STEPS["x"]), "fw": weights()["fw"]}
    return graph(nodes, {name: value.astype(np.float32) for name, value in constants.items()})


@pytest.mark.parametrize(("zero", "dtype", "note"), [
    (0, np.int8, "is quantized; the scales of its 2 feature maps are used"),
    (3, np.int8, f"0 of its 2 {FITTING}"),
    (0, np.uint8, f"1 of its 2 {FITTING}"),
    (-128, np.int8, f"1 of its 2 {FITTING}"),
    (1, np.uint8, f"0 of its 2 {FITTING}"),
])  # fmt: skip
def test_the_float_model_is_what_the_integers_stand_for(tmp_path, caplog, zero, dtype, note):
    module = frontend.import_model(frontend.load_model(saved(quantized(zero, dtype), tmp_path)), target_layer="Relu r")
    assert note in caplog.text
    module = frontend.import_model(frontend.load_model(tmp_path / "model.onnx"))
    (logits,) = run_float(module, IMAGES[:1])
    np.testing.assert_allclose(logits, by_onnxruntime(as_float(), IMAGES[:1]), rtol=1e-4, atol=1e-4)
    assert str(module).count("gradcam.given_range") == (2 if "are used" in note else int("1 of" in note))


def at_quantized(path):
    compilation = Compilation(frontend.load_model(path), Settings("Relu r", calibration=IMAGES))
    return compilation.to("quantized").body.operations[0]


def test_scales_and_integers_of_the_file_are_those_of_level_2(tmp_path):
    main = at_quantized(saved(quantized(), tmp_path))
    ops = {op.operation.name: op for op in main.entry_block.operations}
    assert scale(main.entry_block.arguments[0]) == pytest.approx(STEPS["x"], rel=1e-6)
    assert scale(ops["gradcam.relu"].results[0]) == pytest.approx(STEPS["r"] * 127 / 255, rel=1e-6), "the same range"
    integers = [np.asarray(ir.DenseElementsAttr(op.attributes["value"])) for op in main.entry_block.operations
                if op.operation.name == "arith.constant"]  # fmt: skip
    assert any(np.array_equal(found, WEIGHTS) for found in integers if found.shape == WEIGHTS.shape)
    assert any(np.abs(found - BIAS).max() <= 1 for found in integers if found.shape == BIAS.shape)
    assert "given_range" not in str(main)


@pytest.mark.parametrize(("zero", "dtype"), [(0, np.uint8), (-128, np.int8)])
def test_a_map_from_0_on_has_the_scale_of_the_file(tmp_path, zero, dtype):
    main = at_quantized(saved(quantized(zero, dtype), tmp_path))
    ops = {op.operation.name: op for op in main.entry_block.operations}
    assert is_unsigned(ops["gradcam.relu"].results[0])
    assert scale(ops["gradcam.relu"].results[0]) == pytest.approx(STEPS["r"], rel=1e-6)
    assert not is_unsigned(main.entry_block.arguments[0]), "the image is measured"


def test_scales_that_do_not_fit_are_measured(tmp_path):
    main = at_quantized(saved(quantized(3), tmp_path))
    (relu,) = (op for op in main.entry_block.operations if op.operation.name == "gradcam.relu")
    assert scale(relu.results[0]) != pytest.approx(STEPS["r"], rel=1e-3)


PER_CHANNEL = {"s": np.float32([0.1, 0.2, 0.3, 0.4]), "z": np.zeros(4, np.int8), "t": np.float32([0.1, 0.2, 0.3, 0.5])}
UNPAIRED = [
    [node("QuantizeLinear", "m s z", "q", axis=1), node("DequantizeLinear", "q t z", axis=1)],
    [node("QuantizeLinear", "m s z", "q", axis=1), node("DequantizeLinear", "q s z", axis=2)],
    [node("Cast", "m", "q", to=TensorProto.INT8), node("DequantizeLinear", "q s", axis=1)],
    [node("Cast", "m", "q", to=TensorProto.INT8), node("DequantizeLinear", "q s z", axis=1)],
    [node("Cast", "m", "q", to=TensorProto.INT32), node("DequantizeLinear", "q s", axis=-3)],
    [node("Cast", "m", "q", to=TensorProto.UINT8), node("DequantizeLinear", "q s", axis=1)],
]


@pytest.mark.parametrize("nodes", UNPAIRED)
@pytest.mark.parametrize("opset", [13, 19, 21])
def test_values_that_are_not_quantized_and_back_are_refused(tmp_path, nodes, opset):
    """Some of these forms end the process in torch-mlir's conversion; none gets there."""
    path = saved(classifier(nodes, PER_CHANNEL, opset=opset), tmp_path)
    with pytest.raises(GradcamError, match=r"DequantizeLinear y: onnx\.DequantizeLinear without a QuantizeLinear"):
        frontend.import_model(frontend.load_model(path))


def test_per_channel_pairs_are_left_out(tmp_path, caplog):
    pair = [node("QuantizeLinear", "m s z", "q", axis=1), node("DequantizeLinear", "q s z", axis=1)]
    frontend.import_model(frontend.load_model(saved(classifier(pair, PER_CHANNEL), tmp_path)))
    assert "0 of its 1 feature maps have scales that fit" in caplog.text


def test_the_operator_format_says_what_to_do(tmp_path):
    constants = {"s": np.float32(0.1), "z": np.int8(0), "w": np.ones((4, 4, 1, 1), np.int8)}
    nodes = [node("QuantizeLinear", "m s z", "q"), node("QLinearConv", "q s z w s z s z", "p")]
    nodes.append(node("DequantizeLinear", "p s z"))
    path = saved(classifier(nodes, constants), tmp_path)
    with pytest.raises(GradcamError, match=r"onnx\.QLinearConv computes with integers; quantize the model in the QDQ"):
        frontend.import_model(frontend.load_model(path))


@pytest.mark.parametrize(
    ("zero", "dtype", "bounds"),
    [
        (0, np.uint8, (0, 2.55)),
        (-128, np.int8, (0, 2.55)),
        (128, np.uint8, (-1.28, 1.27)),
        (10, np.int8, (-1.38, 1.17)),
    ],
)
def test_what_a_quantizer_left_to_the_integers_is_kept(tmp_path, zero, dtype, bounds):
    """A ReLU that is not in the file, since no integer stands for a negative number; behind a ReLU nothing is added."""
    constants = {"s": np.float32(0.01), "z": np.array(zero, dtype)}
    pairs = [
        *(node("QuantizeLinear", "m s z", "a"), node("DequantizeLinear", "a s z", "b")),
        *(node("MaxPool", "b", "p", **POOL), node("QuantizeLinear", "p s z", "d"), node("DequantizeLinear", "d s z")),
    ]
    clips = [node("Clip", "m lo hi", "b"), node("MaxPool", "b", **POOL)]
    path, image = saved(classifier(pairs, constants), tmp_path), IMAGES[:1]
    module = frontend.import_model(frontend.load_model(path))
    wanted = classifier(clips, {"lo": np.float32(bounds[0]), "hi": np.float32(bounds[1])})
    np.testing.assert_allclose(run_float(module, image)[0], by_onnxruntime(wanted, image), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(run_float(module, image)[0], by_onnxruntime(path, image), atol=0.05)
    kind = "gradcam.hardtanh" if bounds[0] == 0 else "gradcam.clamp"
    assert str(module).count(f'"{kind}"') == (1 if bounds[0] == 0 else 2)
