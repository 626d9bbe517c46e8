"""Lane sums by cascades of DSP slices: the same outputs, predicted cycles, and the slices that they take."""

import dataclasses

import pytest
import rtl_networks
from hardware import hardware
from rtl_checks import check_design

from gradcam.errors import GradcamError
from gradcam.output import compile_to_folder
from gradcam.passes.hw import products
from gradcam.passes.hw.dot import Dot
from gradcam.sim import Simulator
from gradcam.sim.check import check_outputs
from gradcam.sim.trace import load_quantized


def settings_of(net, pe, **others):
    return dataclasses.replace(net.settings(pe), **{"family": "xcup", **others})


def cascades(net, pe, **others):
    """The cascades of a design, by name, and the multiplications of its array that are outside."""
    engine = hardware(net, settings_of(net, pe, **others))["engine_mac"]
    return {name: count for name, count in engine.instances.items() if Dot.named(name)}


@pytest.mark.parametrize(
    ("network", "pe", "others"),
    [
        (rtl_networks.windows, "4x8", {}),
        (rtl_networks.sums, "2x8", {"dsp_packing": True}),
        (
            rtl_networks.leaky,
            "4x4",
            {"dsp_packing": True, "activation_bits": 9, "method": "layercam", "clock_mhz": 300},
        ),
        (rtl_networks.table, "4x4", {"dsp_packing": True, "family": "xc7"}),
    ],
    ids=["plain", "packed", "parts", "alone"],
)
def test_rtl_equals_the_integer_reference(network, pe, others, tmp_path):
    net = network()
    compile_to_folder(net, "test", settings_of(net, pe, **others), tmp_path / "design")
    check_design(net, tmp_path / "design")


def test_the_cascades_of_an_array():
    net = rtl_networks.table()
    assert cascades(net, "4x8") == {"dot4_9x8_18": 4 * 2}
    assert cascades(net, "4x8", dsp_packing=True) == {"dots4_9x8_18": 2 * 2}
    assert cascades(net, "4x2") == {"dot2_9x8_17": 4}
    assert cascades(net, "1x4", dsp_packing=True) == {"dot4_9x8_18": 1}, "a lane without a neighbour"
    assert cascades(net, "4x1") == {}, "nothing to add up"
    assert cascades(net, "4x4", family=None) == cascades(net, "4x4", family="ecp5", clock_mhz=50) == {}


def test_sums_that_one_slice_cannot_hold_take_shorter_cascades():
    net = rtl_networks.table()
    assert cascades(net, "4x4", dsp_packing=True, activation_bits=9) == {"dots2_10x8_18": 2 * 2}
    assert cascades(net, "4x4", activation_bits=9) == {"dot4_10x8_19": 4}
    assert cascades(net, "4x4", family="xc7", dsp_packing=True) == {"dots1_9x8_16": 2 * 4}
    assert cascades(net, "4x4", family="xc7") == {"dot4_9x8_18": 4}


def test_products_and_sums_are_as_late_with_packing_as_without(tmp_path):
    net = rtl_networks.table()
    reports = [
        compile_to_folder(net, "test", settings_of(net, "4x4", dsp_packing=packing), tmp_path / str(packing))
        for packing in (False, True)
    ]
    assert reports[0].cycles == reports[1].cycles


def test_a_cascade_that_borrows_from_its_upper_sum_is_found(tmp_path, monkeypatch):
    class Borrowing(Dot):
        def _start(self):
            return 0

    monkeypatch.setattr(products, "Dot", Borrowing)
    net = rtl_networks.table()
    compile_to_folder(net, "test", settings_of(net, "4x4", dsp_packing=True), tmp_path / "design")
    simulator, (image,) = Simulator(tmp_path / "design"), net.images(1)
    (result,) = simulator.run(image[None])
    with pytest.raises(GradcamError, match="in the integer reference"):
        check_outputs(result, load_quantized(simulator.design), image)
