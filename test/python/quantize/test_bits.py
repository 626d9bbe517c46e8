"""More bits than 8: what types have them, and that every level computes the same integers."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import rtl_networks
from rtl_checks import check_design
from rtl_networks import Network, random_network
from torch import nn
from torch_mlir import ir

from gradcam.bits import LEAST
from gradcam.compiler import Compilation, Settings
from gradcam.design import Design
from gradcam.dialect import make_context
from gradcam.dialect.traits import Gradient, Product, has
from gradcam.errors import GradcamError
from gradcam.jit import compile_affine, compile_linalg
from gradcam.output import compile_to_folder
from gradcam.passes.hw import datapath
from gradcam.passes.ir.constants import elements_of, integers_attr
from gradcam.passes.ir.queries import main_function
from gradcam.passes.program.banks import hex_lines
from gradcam.passes.quantize.parameters import weight_scales
from gradcam.passes.quantize.quantize import Quantize
from gradcam.quant_types import scales, storage_bits, storage_limits
from gradcam.reference.integer import run_integer

#: Buffers of the lowering that have no tensor in the reference.
INNER = r".*\.(parts|rows|columns|halves|high|sums|unfold|adjoint)(\.\d+)?"

#: Bits of activations, gradients and weights.
Widths = tuple[int, int, int]


def with_bits(settings: Settings, bits: Widths, **others) -> Settings:
    activations, gradients, weights = bits
    chosen = {"activation_bits": activations, "gradient_bits": gradients, "weight_bits": weights}
    return dataclasses.replace(settings, **chosen, **others)


def residual(target: int = 1) -> Network:
    """A residual network with a max-pool, explained behind its first layer."""
    net = Network(3, 9, 8)
    x = net.add(nn.ReLU(), net.conv(0, 6))
    net.block(net.add(nn.MaxPool2d(2), x), 10, 2)
    net.explain(target)
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(5)


# Constants.


@pytest.mark.parametrize("bits", [7, 8, 9, 12, 15, 16, 31])
@pytest.mark.parametrize("size", [1, 30, 3000])
def test_constants_of_any_width_are_read_as_they_were_made(bits, size):
    dtype = next(f"int{n}" for n in (8, 16, 32) if bits <= n)
    values = np.random.default_rng(bits).integers(-(1 << (bits - 1)), 1 << (bits - 1), (size, 2)).astype(dtype)
    with make_context():
        for array in (values, np.full_like(values, values[0, 0])):  # equal elements are printed once
            attribute = integers_attr(array, bits)
            assert str(attribute.type) == f"tensor<{size}x2xi{bits}>"
            found = elements_of(attribute)
            assert found.dtype == dtype and np.array_equal(found, array)
            assert ir.Attribute.parse(str(attribute)) == attribute, "no bits beyond those of the type"


@pytest.mark.parametrize("bits", [1, 8, 9, 11, 12, 16])
def test_memory_images_of_any_width(bits):
    words = np.random.default_rng(bits).integers(-(1 << (bits - 1)), 1 << (bits - 1), (5, 3))
    for line, word in zip(hex_lines(words, bits).splitlines(), words.tolist(), strict=True):
        assert int(line, 16) == sum((lane & ((1 << bits) - 1)) << (n * bits) for n, lane in enumerate(word))
        assert len(line) == -(-3 * bits // 4)


# Types.


def widths_of(bits: Widths, target: int = 1, method: str = "gradcam") -> dict[str, set[str]]:
    """The storage of what a quantized network multiplies, by kind."""
    settings = with_bits(residual().settings("4x4"), bits, method=method)
    module = Compilation(residual(target), settings).to("quantized")
    found: dict[str, set[str]] = {"map": set(), "gradient": set(), "weight": set()}
    for op in main_function(module).entry_block.operations:
        if has(op, Product):
            kind = "gradient" if has(op, Gradient) else "map"
            for name, operand in ((kind, op.operands[0]), ("weight", op.operands[1])):
                found[name].add(str(operand.type).split("quant.uniform<")[1].split(":")[0].split(",")[0])
    return found


def test_types_have_the_bits_that_are_asked_for():
    assert widths_of((8, 8, 8)) == {"map": {"i8", "u8"}, "gradient": {"i8"}, "weight": {"i8"}}
    wide = widths_of((9, 10, 12), method="hirescam")
    assert wide == {"map": {"i8", "i9", "u9"}, "gradient": {"i10<-511"}, "weight": {"i12"}}, "the image has 8"
    assert "i16<-32639" in widths_of((8, 16, 8), method="hirescam")["gradient"]


def test_more_bits_are_nearer_to_float():
    from level_checks import correlations, float_and_int8

    net, least = residual(), []
    for bits in ((8, 8, 8), (10, 10, 10), (12, 12, 12)):
        compilation = Compilation(net, with_bits(net.settings("4x4"), bits, method="hirescam"))
        least.append(1 - min(correlations(*float_and_int8(compilation, net.calibration_images))))
    assert least[0] > 4 * least[1] > 8 * least[2]


def test_every_second_bit_of_gradients_lets_fewer_saturate():
    def steps(bits: int) -> np.ndarray:
        module = Compilation(residual(), with_bits(residual().settings("4x4"), (8, bits, 8))).to("quantized")
        (op,) = (o for o in main_function(module).entry_block.operations if o.operation.name == "gradcam.max_unpool2d")
        return scales(op.results[0])

    for bits, most, reserve in ((9, 255, 1), (10, 511, 2), (11, 1023, 2), (12, 2047, 4), (16, 32639, 16)):
        np.testing.assert_allclose(steps(bits) * most, steps(8) * 127 * reserve, rtol=1e-5)


def test_weights_have_the_bits_that_their_sums_have_room_for():
    ones, zero = np.ones((2, 1000)), np.zeros(2)
    assert weight_scales(ones, zero, 1.0, 12, 255) == pytest.approx(1 / 2047, rel=1e-6)
    (step, _) = weight_scales(ones, zero, 1.0, 12, 4095).tolist()
    assert 1 / 600 < step < 1 / 500 and (1000 / step + 500) * 4095 < 2**31
    assert weight_scales(np.ones((2, 10_000)), zero, 1.0, 12, 4095) == pytest.approx(1 / 127, rel=1e-6), "not below 8"


def test_gradients_have_room_in_their_sums():
    """The sums of products with 9000 channels of 12 bits leave 7 bits, and 8 bits are the fewest."""
    net = Network(20, 2, 2)
    net.explain(net.conv(0, 600, 1, 1, 0))
    net.add(nn.ReLU())
    net.add(nn.AdaptiveAvgPool2d(1))
    net.classify(3, 4)
    settings = with_bits(net.settings("8x8"), (12, 16, 8), method="hirescam")
    module = Compilation(net, settings).to("quantized")
    (product,) = (o for o in main_function(module).entry_block.operations if o.operation.name == "gradcam.weighted_sum")
    low, most = storage_limits(product.operands[0])
    largest = max(-storage_limits(product.operands[1])[0], storage_limits(product.operands[1])[1])
    assert storage_bits(product.operands[0]) == 16 and low == -most
    assert 600 * most * largest < 2**31 <= 600 * (most + 1) * largest


def test_bits_that_are_not_possible_are_refused_by_the_pass():
    with make_context(), pytest.raises(GradcamError, match=r"^option 'gradient-bits' must be from 8 to 16, got 17$"):
        Quantize(gradient_bits=17).run(ir.Module.parse("func.func @main() { return }"))


# Every level.


def check_levels(net: Network, settings: Settings, cls: int = -1) -> None:
    """Levels 3 and 4 compute the integers of the reference."""
    (image,) = net.images(1)
    compilation = Compilation(net, settings)
    wanted = run_integer(compilation.to("quantized"), image[None], cls)
    inputs = [np.ascontiguousarray(image.transpose(1, 2, 0)), np.array([cls], np.int32)][: 1 + bool(net.target)]
    for level, compiled in (("linalg", compile_linalg), ("scheduled", partial(compile_affine, inputs=len(inputs)))):
        found = compiled(compilation.to(level), optimize=0)(*inputs)
        for got, exact in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(got.ravel(), exact.ravel())


METHODS = ("gradcam", "hirescam", "layercam")


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_of_random_bits(seed):
    rng = np.random.default_rng([seed, 18])
    net, pe = random_network(seed)
    activations, gradients, weights = (int(rng.integers(LEAST, most + 1)) for most in (12, 16, 12))
    if net.target:
        settings = with_bits(net.settings(pe), (activations, gradients, weights), method=str(rng.choice(METHODS)))
    else:
        settings = with_bits(net.settings(pe), (activations, LEAST, weights))
    check_levels(net, settings)


@pytest.mark.parametrize(
    ("network", "bits", "method"),
    [
        (rtl_networks.gated, (12, 16, 9), "layercam"),
        (rtl_networks.tabulated, (9, 15, 12), "hirescam"),
        (rtl_networks.leaky, (8, 9, 10), "hirescam"),
        (residual, (9, 16, 8), "hirescam"),
    ],
    ids=["gated", "tabulated", "leaky", "residual"],
)
def test_networks_of_every_kind(network, bits, method):
    net = network()
    check_levels(net, with_bits(net.settings("4x4"), bits, method=method))


# The hardware.


@pytest.mark.parametrize(
    ("network", "bits", "others"),
    [
        (residual, (8, 16, 9), {"method": "hirescam", "dsp_packing": True, "weights": "dram", "dram_width": 32}),
        (rtl_networks.leaky, (10, 11, 12), {"clock_mhz": 100, "family": "ecp5", "method": "layercam"}),
    ],
    ids=["halves", "clock"],
)
def test_rtl_equals_the_integer_reference(network, bits, others, tmp_path):
    net = network()
    compile_to_folder(net, "test", with_bits(net.settings("4x4"), bits, **others), tmp_path / "design")
    check_design(net, tmp_path / "design", count=2, inner=INNER, distinct=False)
    program = Design.load(tmp_path / "design").program
    assert len({nest.engine for nest in program.nests if nest.engine.startswith("mac")}) == 1


def test_an_engine_that_extends_narrow_operands_by_zeros_is_found(tmp_path, monkeypatch):
    as_wide = datapath.Datapath._as_wide

    def zeros(self, node, value, bits, stage):
        return value.zero_extend(bits) if value.width < bits else as_wide(self, node, value, bits, stage)

    monkeypatch.setattr(datapath.Datapath, "_as_wide", zeros)
    net = rtl_networks.flat()
    compile_to_folder(net, "test", with_bits(net.settings("4x8"), (9, 8, 8)), tmp_path / "design")
    with pytest.raises(GradcamError, match="in the integer reference"):
        check_design(net, tmp_path / "design")


def test_a_dram_must_deliver_whole_weights():
    net = rtl_networks.flat()
    settings = with_bits(net.settings("4x8"), (8, 8, 9), weights="dram", dram_width=8)
    with pytest.raises(GradcamError, match=r"8 bits does not divide a weight word of \d+ x 16 = \d+ bits into whole"):
        Compilation(net, settings).to("scheduled")
