"""Gradients of 32 bits with a fraction: which they are, what their readers get, and that this is rounded once."""

import channel_networks
import numpy as np
import pytest
from level_checks import check_linalg
from rtl_checks import check_design
from rtl_networks import Network, Sum
from torch import nn

from gradcam.compiler import Compilation, Settings
from gradcam.output import compile_to_folder
from gradcam.passes.ir.queries import location_name, main_function, users
from gradcam.passes.quantize.gradients import MAP_FRACTION_BITS
from gradcam.quant_types import scales, storage_bits, storage_limits
from gradcam.reference.integer import quantize_image, run_integer
from gradcam.sim import Simulator, compare_trace
from gradcam.sim.header import dumps
from gradcam.sim.trace import load_quantized


def network(channels=7):
    """A block that a convolution of stride 2 bypasses, behind one that is added to what it reads."""
    net = Network(3, 9, 8)
    x = net.add(nn.ReLU(), net.conv(0, channels))
    net.target = x
    y = net.conv(net.add(nn.ReLU(), net.conv(x, channels)), channels)
    x = net.add(nn.ReLU(), net.add(Sum(), y, x))
    y = net.conv(net.add(nn.ReLU(), net.conv(x, 9, 3, 2)), 9)
    net.add(nn.ReLU(), net.add(Sum(), y, net.conv(x, 9, 1, 2, 0)))
    net.add(nn.AdaptiveAvgPool2d(1))
    return net.classify(5)


def compilation(method, pe="4x4", net=None):
    net = net or network()
    return Compilation(net, Settings(f"layers.{net.target}", method, pe))


def ops_of(module, name):
    return [op for op in main_function(module).entry_block.operations if op.operation.name == f"gradcam.{name}"]


def test_sums_of_gradients_have_a_fraction_and_readers_what_they_need():
    module = compilation("hirescam").to("quantized")
    sums = [op for op in ops_of(module, "add") if "adjoint" in location_name(op)]
    assert [storage_bits(op.z) for op in sums] == [32, 32]
    copies = {op: users(op.y) for op in ops_of(module, "requantize")}
    read = [[user.operation.name for user in found] for found in copies.values()]
    assert any("gradcam.weighted_sum" in names for names in read)
    for copy, found in copies.items():
        wide, step = scales(copy.x), scales(copy.y)
        if found[0].operation.name == "gradcam.weighted_sum":
            assert storage_limits(copy.y) == (1 - (1 << 14), (1 << 14) - 1)
        else:
            assert storage_bits(copy.y) == 8 and storage_bits(copy.x) == 32
        if sum(op.x == copy.x for op in copies) == 1 and storage_bits(copy.y) == 8:
            np.testing.assert_allclose(step / wide, 2.0**MAP_FRACTION_BITS, rtol=1e-5)
    # Two convolutions read the gradient behind the second block: each from the 32 bits.
    twice = [op.x for op in copies if sum(other.x == op.x for other in copies) > 1]
    assert twice and all(storage_bits(value) == 32 for value in twice)


def test_what_a_reader_gets_is_the_exact_sum_rounded_once():
    """By hand from the summands in 64 bits: no more than half a step, and a little for the fraction, is lost."""
    module, values = compilation("hirescam").to("quantized"), {}
    image = quantize_image(module, network().images(1)[0][None] * 0.01)
    run_integer(module, image, -1, lambda op, _i, value: values.setdefault(op.results[0], value))

    def real(value):
        step = scales(value)
        return values[value] * (step.reshape(-1, *[1] * (values[value].ndim - 2)) if step.ndim else step)

    checked = 0
    for copy in ops_of(module, "requantize"):
        low, high = storage_limits(copy.y)
        step = scales(copy.y)
        exact = real(copy.x) / (step.reshape(-1, 1, 1) if step.ndim else step)
        error = np.abs(values[copy.y] - np.clip(exact, low, high))
        assert error.max() <= 0.5 + 2**-7
        checked += int((values[copy.y] != 0).any())
    assert checked >= 3


def test_products_of_many_channels_get_fewer_bits():
    """The formula multiplies what 31 bits can hold: 15 bits times 255 over 64 channels, and less over 600."""
    largest = {}
    for channels in (64, 600):
        net = Network(3, 4, 4)
        net.target = net.add(nn.ReLU(), net.conv(0, channels, 1, 1, 0))
        net.add(nn.ReLU(), net.conv(net.target, 4))
        net.add(nn.AdaptiveAvgPool2d(1))
        module = compilation("hirescam", net=net.classify(3)).to("quantized")
        (copy,) = (op for op in ops_of(module, "requantize") if users(op.y)[0].operation.name == "gradcam.weighted_sum")
        low, largest[channels] = storage_limits(copy.y)
        assert low == -largest[channels]
    assert largest == {64: (1 << 14) - 1, 600: ((1 << 31) - 1) // (600 * 255)}


@pytest.mark.parametrize("pe", ["4x4", "8x2", "2x8"])
@pytest.mark.parametrize("method", ["gradcam", "hirescam", "layercam"])
def test_linalg_equals_the_integer_reference(method, pe):
    chain = compilation(method, pe)
    found = check_linalg(chain, chain.to("quantized"), network().calibration_images[:2])
    assert not np.array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("bits", [9, 16])
def test_wider_gradients_leave_room_for_every_rescale(bits):
    """A fraction of 10 bits would need rescales beyond 2^14."""
    net = network()
    chain = Compilation(net, Settings(f"layers.{net.target}", "hirescam", "4x4", gradient_bits=bits))
    check_linalg(chain, chain.to("quantized"), net.calibration_images[:1])


def test_rtl_equals_the_integer_reference(tmp_path):
    net, folder = network(), tmp_path / "design"
    compile_to_folder(net, "test", Settings(f"layers.{net.target}", "hirescam", "8x4"), folder)
    checked = check_design(net, folder, inner=r".*\.(unfold|sums)|layers\.\d+\.adjoint")
    names = {name for name in checked.trace.compared if "requantized" in name}
    assert {"layers.13.adjoint.requantized1", "layers.7.adjoint.requantized"} <= names
    written = [dump.buffer.name for dump in dumps(checked.simulator.program)]
    for name in ("layers.13.adjoint.requantized1", "layers.7.adjoint.requantized"):  # a single bit
        number = max(i for i, buffer in enumerate(written) if buffer == name)  # whole behind the last of its parts
        buffer = checked.traced.buffers[number]
        buffer[0, 0, 0] ^= 1
        assert "requantized" in checked.compare().difference.tensor
        buffer[0, 0, 0] ^= 1
    assert checked.compare().difference is None


@pytest.mark.parametrize(
    ("network", "method", "pe", "bits"),
    [
        (channel_networks.growing, "hirescam", "4x8", 8),
        (channel_networks.activated, "layercam", "4x4", 16),
    ],
)
def test_buffers_of_wide_gradients_are_those_of_the_reference(network, method, pe, bits, tmp_path):
    """Sums of one name that are stored beside others which are rounded at once, in one part or in two."""
    net, folder = network(), tmp_path / "design"
    settings = Settings("layers.3", method, pe, gradient_bits=bits, validate=False)
    compile_to_folder(net, "test", settings, folder)
    simulator, (image,) = Simulator(folder), net.images(1)
    module = load_quantized(simulator.design)
    (traced,) = simulator.run(image[None], buffers=True)
    trace = compare_trace(simulator.program, traced, module, image)
    assert trace.difference is None
    assert {name for name in trace.compared if "adjoint" in name}
    written = [dump.buffer.name for dump in dumps(simulator.program)]
    changed = next(n for n, name in enumerate(written) if ".adjoint" in name and name not in trace.skipped)
    traced.buffers[changed].flat[0] ^= 1
    assert compare_trace(simulator.program, traced, module, image).difference is not None
