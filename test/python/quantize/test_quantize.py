"""gradcam-quantize: which types it chooses, that small networks keep their meaning, and what it refuses."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_networks import Network, small_resnet
from torch_mlir import ir

from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float
from gradcam.passes.ir.constants import dense_values
from gradcam.passes.ir.queries import main_function
from gradcam.passes.quantize.calibrate import calibrate, input_shape
from gradcam.passes.quantize.parameters import weight_scales
from gradcam.passes.quantize.quantize import Quantize
from gradcam.quant_types import is_accumulator, per_channel, per_tensor, round_scale, scale, scales, storage_bits
from gradcam.reference.integer import quantize_image, run_integer

pytestmark = pytest.mark.usefixtures("context")


def images(shape, count=8, seed=1):
    return np.random.default_rng(seed).normal(0, 1, (count, *shape)).astype(np.float32)


def quantized(text, choice="max"):
    module = ir.Module.parse(text)
    calibrate(module, images(input_shape(module)), choice)
    Quantize().run(module)
    assert module.operation.verify()
    return module


def op_at(module, path, index=-1):
    """The last (or another) op whose location is `path`."""
    body = main_function(module).entry_block.operations
    return [op for op in body if f'"{path}"' in str(op.location)][index]


def real(value, type_):
    return value * scale(type_)


def relative_error(found, expected):
    return float(np.sqrt(((found - expected) ** 2).mean() / (expected**2).mean()))


def compare(text, count=4, cls=1):
    """Relative errors of logits and heatmap over a few of the calibration images."""
    module, reference = quantized(text), ir.Module.parse(text)
    types = ir.FunctionType(main_function(module).type).results
    found, expected = [], []
    for image in images(input_shape(module), count):
        integers = run_integer(module, quantize_image(module, image), cls)
        found.append([real(x, type_) for x, type_ in zip(integers, types, strict=True)])
        expected.append(run_float(reference, image, cls))
    pairs = zip(zip(*found, strict=True), zip(*expected, strict=True), strict=True)
    return np.array([relative_error(np.stack(f), np.stack(e)) for f, e in pairs])


@pytest.fixture
def resnet():
    return small_resnet()


def test_small_resnet_keeps_its_meaning(resnet):
    logits, heatmap = compare(resnet)
    assert logits < 0.03 and heatmap < 0.06


def test_the_comparison_can_fail(resnet):
    """One flipped sign bit of one weight is seen."""
    module, image = quantized(resnet), images((1, 3, 12, 12), 1)[0]
    before = run_integer(module, quantize_image(module, image), 1)
    cast = op_at(module, "fc").operands[1].owner
    weights = np.array(dense_values(cast.operands[0].owner))
    weights[1, 0] ^= np.int8(-128)
    cast.operands[0].owner.attributes["value"] = ir.DenseElementsAttr.get(weights)
    after = run_integer(module, quantize_image(module, image), 1)
    assert (before[0] != after[0]).any() and (before[1] != after[1]).any()


def test_text_round_trip_means_the_same(resnet):
    module = quantized(resnet, "mse")
    again = ir.Module.parse(str(module))
    assert str(again) == str(module)
    for image in images((1, 3, 12, 12), 2):
        stored = quantize_image(module, image)
        np.testing.assert_array_equal(stored, quantize_image(again, image))
        for a, b in zip(run_integer(module, stored), run_integer(again, stored), strict=True):
            np.testing.assert_array_equal(a, b)


@given(st.lists(st.floats(1e-30, 1e30), min_size=1, max_size=4), st.sampled_from([8, 32]))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_types_round_trip_with_seven_digits(values, bits):
    with ir.Location.unknown():
        for type_ in (per_channel([len(values)], values, bits), per_tensor([1, 2], values[0], bits)):
            again = ir.Type.parse(str(type_))
            assert again == type_ and storage_bits(again) == bits
            np.testing.assert_array_equal(scales(again), scales(type_))
            assert all(s == round_scale(s) for s in scales(type_).ravel())
            np.testing.assert_allclose(scales(type_), values if scales(type_).ndim else values[0], rtol=5.1e-7)


def test_types_of_a_resnet(resnet):
    module = quantized(resnet)
    conv1 = op_at(module, "conv1")
    assert storage_bits(conv1.results[0]) == 8 and scales(conv1.operands[1]).shape == (8,)
    np.testing.assert_allclose(
        scales(conv1.operands[2]), scale(conv1.operands[0]) * scales(conv1.operands[1]), rtol=1e-6
    )
    # A sum is stored at the relu's scale; the convolution before it has 32 bits at that scale.
    sum_ = op_at(module, "layer1.0", 0)
    relu = op_at(module, "layer1.0")
    conv2 = op_at(module, "layer1.0.conv2")
    assert sum_.name == "gradcam.add" and relu.name == "gradcam.relu"
    assert scale(sum_.results[0]) == scale(relu.results[0]) == scale(conv2.results[0])
    assert storage_bits(conv2.results[0]) == 32 and storage_bits(sum_.results[0]) == 8
    # Of two candidates only the later one, here the shortcut.
    assert storage_bits(op_at(module, "layer2.0.conv2").results[0]) == 8
    assert storage_bits(op_at(module, "layer2.0.downsample.0").results[0]) == 32
    fc = op_at(module, "fc")
    assert is_accumulator(fc) and not is_accumulator(conv2)
    row = next(op for op in main_function(module).entry_block.operations if op.operation.name == "gradcam.class_row")
    assert row.operands[0] == fc.operands[1]  # the classifier's own weight, not a copy
    assert "gradcam.range" not in str(module) and "gradcam.explain" in str(module)


def test_every_tensor_is_quantized_and_every_original_gone(resnet):
    text = quantized(resnet).operation.get_asm(large_elements_limit=4)
    assert "xf32>" not in text


def test_weight_scales():
    weight = np.array([[127.0], [-12.7], [1e-9], [0.0]])
    found = weight_scales(weight, np.zeros(4), 1.0)
    np.testing.assert_allclose(found, [1.0, 0.1, 2.0**-8, 2.0**-8], rtol=1e-6)
    assert all(float(f"{s:.6e}") == s for s in found)
    # Weights of zero: the scale lets the bias use half of the accumulator.
    np.testing.assert_allclose(weight_scales(np.zeros((1, 3)), np.array([4.0]), 0.5), [2.0**-27], rtol=1e-6)
    assert weight_scales(np.zeros((2, 3)), np.zeros(2), 0.5).tolist() == [1.0, 1.0]


def dead_channels():
    net = Network((1, 2, 4, 4))
    weight = net.rng.normal(0, 1, (4, 2, 1, 1))
    weight[1] = 0
    weight[2] *= 1e-9
    x = net.relu(net.conv(net.image, 4, 1, padding=0, weight=weight, bias=[0.1, 0.7, 0.0, -0.2]))
    return net.module(*net.head(x, 3))


def zero_layer():
    net = Network((1, 2, 4, 4))
    x = net.relu(net.conv(net.image, 3, 1, padding=0, weight=np.zeros((3, 2, 1, 1)), bias=[0.5, 1.0, 0.25]))
    return net.module(*net.head(x, 3))


def relu_on_the_image():
    net = Network((1, 2, 4, 4))
    return net.module(*net.head(net.conv(net.relu(net.image), 4), 3))


def max_pool_on_the_image():
    net = Network((1, 2, 6, 6))
    x = net.pool("max", net.image, (3, 2), 2, 1)
    return net.module(*net.head(net.relu(net.conv(x, 4)), 3))


def same_value_twice():
    net = Network((1, 2, 4, 4))
    x = net.conv(net.image, 4)
    return net.module(*net.head(net.relu(net.add(x, x)), 3))


def map_with_many_readers():
    net = Network((1, 2, 4, 4))
    x = net.conv(net.image, 4)
    y = net.relu(x)
    z = net.conv(y, 4)
    return net.module(*net.head(net.add(net.add(z, y), net.add(x, z)), 3))


def sum_of_two_convolutions_clamped():
    net = Network((1, 2, 4, 4))
    x = net.clamp(net.add(net.conv(net.image, 4), net.conv(net.image, 4)), 0.0, 1.5)
    return net.module(*net.head(x, 3))


def relu6():
    net = Network((1, 2, 4, 4))
    x = net.clamp(net.conv(net.image, 4, gain=5.0), 0.0, 6.0)
    return net.module(*net.head(x, 3))


def hidden_linear():
    net = Network((1, 2, 4, 4))
    x = net.relu(net.linear(net.flatten(net.relu(net.conv(net.image, 4))), 16))
    return net.module(net.linear(net.add(net.linear(x, 16), x), 3))


def conv_head():
    net = Network((1, 2, 4, 4))
    x = net.pool("avg", net.relu(net.conv(net.image, 8)), (4, 4), 1)
    return net.module(net.flatten(net.conv(x, 3, 1, padding=0)))


def conv_head_with_a_large_kernel():
    net = Network((1, 2, 4, 4))
    return net.module(net.flatten(net.conv(net.relu(net.conv(net.image, 8)), 3, 4, padding=0, bias=False)))


def padded_average_pool():
    net = Network((1, 2, 5, 5))
    x = net.pool("avg", net.relu(net.conv(net.image, 8)), (3, 3), 2, 1)
    return net.module(*net.head(x, 3))


GENERAL = [
    dead_channels,
    zero_layer,
    relu_on_the_image,
    max_pool_on_the_image,
    same_value_twice,
    map_with_many_readers,
    sum_of_two_convolutions_clamped,
    relu6,
    hidden_linear,
    conv_head,
    conv_head_with_a_large_kernel,
    padded_average_pool,
]


@pytest.mark.parametrize("network", GENERAL, ids=lambda f: f.__name__)
def test_networks_of_many_shapes_keep_their_meaning(network):
    assert (compare(network()) < 0.05).all()


def test_same_value_twice_stays_in_8_bits():
    module = quantized(same_value_twice())
    conv = next(op for op in main_function(module).entry_block.operations if op.operation.name == "gradcam.conv2d")
    assert storage_bits(conv.results[0]) == 8


@pytest.mark.parametrize("network", [conv_head, conv_head_with_a_large_kernel, hidden_linear])
def test_the_classifier_has_one_scale_and_keeps_its_accumulators(network):
    module = quantized(network())
    layers = [
        op for op in main_function(module).entry_block.operations if op.name in ("gradcam.conv2d", "gradcam.linear")
    ]
    assert is_accumulator(layers[-1]) and not scales(layers[-1].operands[1]).ndim
    assert all(not is_accumulator(op) and scales(op.operands[1]).ndim == 1 for op in layers[:-1])


def refused(text, calibrated=True):
    """The error of quantizing `text`, with a range on everything."""
    module = ir.Module.parse(text)
    main = main_function(module)
    one = ir.FloatAttr.get_f64(1.0)
    if calibrated:
        main.arg_attrs = ir.ArrayAttr.get(
            [ir.DictAttr.get({"gradcam.range": one} if i == 0 else {}) for i in range(len(main.arguments))]
        )
        for op in main.entry_block.operations:
            if op.operation.name.startswith("gradcam."):
                op.attributes["gradcam.range"] = one
    before = str(module)
    with pytest.raises(GradcamError) as error:
        Quantize().run(module)
    assert "\n" not in error.value.message
    return error.value, before == str(module)


def test_missing_ranges():
    module = ir.Module.parse(relu6())
    with pytest.raises(GradcamError, match=r"the image has no gradcam.range; run gradcam-calibrate first"):
        Quantize().run(module)
    calibrate(module, images(input_shape(module)))
    op = next(op for op in main_function(module).entry_block.operations if op.operation.name == "gradcam.clamp")
    del op.attributes["gradcam.range"]
    with pytest.raises(
        GradcamError, match=r"'gradcam.clamp' has no gradcam.range; run gradcam-calibrate first"
    ) as error:
        Quantize().run(module)
    assert error.value.location == op.location


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, np.nan])
def test_ranges_must_be_positive(value):
    module = ir.Module.parse(relu6())
    calibrate(module, images(input_shape(module)))
    op = next(op for op in main_function(module).entry_block.operations if op.operation.name == "gradcam.clamp")
    op.attributes["gradcam.range"] = ir.FloatAttr.get_f64(value)
    with pytest.raises(GradcamError, match=r"gradcam.range must be a positive number"):
        Quantize().run(module)


def test_unsupported_ops_are_refused_together():
    net = Network((1, 4, 40, 40))
    x = net.conv(net.image, 4, groups=4, path="features.0")
    x = net.pool("avg", x, (23, 23), 1, 11, include=False, path="features.1")
    values = [net.constant(np.ones(4, np.float32)) for _ in range(4)]
    values[0] = net.op("relu", [values[0]], (4,))
    x = net.op("batch_norm", [x, *values], (1, 4, 40, 40), "eps = 1.0e-5 : f64", path="features.2")
    error, unchanged = refused(net.module(net.linear(net.flatten(x), 3)))
    assert unchanged
    for part in (
        "2 problems",
        "'gradcam.avg_pool2d' has windows of so many sizes that their least common multiple is",
        "the parameters of 'gradcam.batch_norm' must be constants (at loc(\"features.2\"))",
    ):
        assert part in error.message
    assert "features.1" in str(error.location)


@pytest.mark.parametrize(
    ("op", "attributes", "reason"),
    [
        (
            "activation_adjoint",
            "closed = false, lo = 0.0 : f64, hi = 6.0 : f64, slope = 0.0 : f64",
            "'gradcam.activation_adjoint' has no quantized form; run gradcam-extract-masks first",
        ),
        (
            "xgradcam_weights",
            "eps = 1.0e-07 : f64",
            "method 'gradcam-elementwise' needs 'gradcam.xgradcam_weights', which has no quantized form at this "
            "target; choose gradcam, hirescam or layercam; gradcam-compile --emit onnx keeps it in f32",
        ),
    ],
)
def test_backward_ops_are_refused_by_name(op, attributes, reason):
    net = Network((1, 2, 4, 4))
    a = net.relu(net.conv(net.image, 3))
    logits = net.conv(a, 3, 4, padding=0)
    shape = a[1][:2] if op == "xgradcam_weights" else a[1]
    map_ = net.op("weighted_sum", [net.op(op, [a, a], shape, attributes), a], (1, 4, 4))
    asked = '{gradcam.explain = {target = "layer3", method = "gradcam-elementwise"}}'
    error, unchanged = refused(net.module(net.flatten(logits), map_, attributes=asked))
    assert unchanged
    assert error.message == reason


def test_a_positive_part_of_the_weights_is_refused():
    """LayerCAM behind a global pool, not simplified."""
    net = Network((1, 2, 4, 4))
    a = net.relu(net.conv(net.image, 3))
    logits, _ = net.head(a, 5)
    (row,) = [line for line in net.lines if "gradcam.class_row" in line]
    positive = net.relu((row.split()[0], (1, 3)))
    map_ = net.op("weighted_sum", [positive, a], (1, 4, 4))
    error, unchanged = refused(net.module(logits, map_))
    assert unchanged
    assert error.message == (
        "'gradcam.relu' of 'gradcam.class_row' has no quantized form; run gradcam-simplify-backward first"
    )


def test_modules_at_the_wrong_level():
    module = quantized(relu6())
    with pytest.raises(GradcamError, match="the module is quantized already"):
        Quantize().run(module)
    net = Network((1, 2, 4, 4))
    x = net.op("target", [net.conv(net.image, 3)], (1, 3, 4, 4), 'path = "layer"')
    error, _ = refused(net.module(net.linear(net.flatten(x), 3)))
    assert error.message.startswith("'gradcam.target' has no quantized form; run gradcam-derive-backward")


def test_logits_from_elsewhere():
    net = Network((1, 2, 4, 4))
    x = net.linear(net.flatten(net.image), 3)
    error, _ = refused(net.module(net.add(x, x)))
    assert error.message == (
        "the logits come from 'gradcam.add', and must come from a linear layer, a convolution or an average pool, or "
        "from a ReLU or clamp of one; make one linear layer of those before it, over the concatenation of what they "
        "read, or compile a single one"
    )
    net = Network((1, 2, 4, 4))
    logits = net.linear(net.flatten(net.image), 3)
    error, _ = refused(net.module(logits, net.relu(logits)).replace(", %class: tensor<1xi32>", ""))
    assert error.message.startswith("the logits have 32 bits and cannot also feed 'gradcam.relu' at loc(")


@pytest.mark.parametrize(
    ("range_", "message"), [(1e-11, "its rescaled result can reach"), (1e-12, "rescale factor must be less than 2^14")]
)
def test_rescales_have_bounds(range_, message):
    net = Network((1, 2, 4, 4))
    x = net.conv(net.image, 1, weight=np.full((1, 2, 3, 3), 1e-7), bias=[1.0])
    text = net.module(net.linear(net.flatten(x), 3))
    module = ir.Module.parse(text)
    calibrate(module, images((1, 2, 4, 4)))
    conv = next(op for op in main_function(module).entry_block.operations if op.operation.name == "gradcam.conv2d")
    conv.attributes["gradcam.range"] = ir.FloatAttr.get_f64(range_)
    with pytest.raises(GradcamError, match=r"'gradcam.conv2d' cannot be quantized: ") as error:
        Quantize().run(module)
    assert message in error.value.message


def test_an_operand_that_adds_nothing_is_refused():
    net = Network((1, 2, 4, 4))
    x = net.relu(net.conv(net.image, 2, weight=net.rng.normal(0, 1e-8, (2, 2, 3, 3)), bias=False))
    text = net.module(*net.head(net.add(net.image, x), 3))
    module = ir.Module.parse(text)
    calibrate(module, images((1, 2, 4, 4)))
    with pytest.raises(GradcamError, match=r"'gradcam.add' cannot be quantized: an operand's range is more than 65536"):
        Quantize().run(module)


def test_accumulators_have_bounds():
    net = Network((1, 1, 1, 140_000))
    text = net.module(net.linear(net.flatten(net.image), 1, weight=np.ones((1, 140_000))))
    with pytest.raises(
        GradcamError, match=r"'gradcam.linear' cannot be quantized: its accumulator can reach 2.27\de\+09"
    ):
        quantized(text)
