"""The platform of a module: written by passes, and refused where it is none or comes too late."""

import pytest
from rtl_networks import sums
from torch_mlir import ir

from gradcam.compiler import Compilation
from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.passes.infra.pass_manager import PassFailure, PassManager
from gradcam.passes.ir.platform import Platform
from gradcam.pe import PE

WRONG = [
    ("unit", r"must be of type dict"),
    ('{pe = "7x8"}', r"powers of two"),
    ("{pe = 4 : i64}", r"Expected `str`, got `int` - at `\$\.pe`"),
    ("{mhz = 5.0}", r"a clock needs a family"),
    ('{family = "ecp5", mhz = "fast"}', r"Expected `float \| null`, got `str`"),
    ("{dram = {width = 24 : i64}}", r"a DRAM width must be a power of two"),
    ("{dram = {foo = 1 : i64}}", r"Invalid enum value 'foo'"),
    ("{bogus = 1 : i64}", r"unknown field `bogus`"),
]


def module_with(platform: str) -> ir.Module:
    return ir.Module.parse(f"module attributes {{gradcam.platform = {platform}}} {{}}", make_context())


@pytest.mark.parametrize(("platform", "message"), WRONG)
def test_what_is_no_platform_is_refused_and_can_be_replaced(platform, message):
    module = module_with(platform)
    with pytest.raises(GradcamError, match=message):
        Platform.of(module.operation)
    PassManager.parse("gradcam-set-platform{pe=8x4}").run(module)
    assert Platform.of(module.operation) == Platform(PE(8, 4))


def test_the_passes_keep_what_the_other_one_has_set():
    module = ir.Module.parse("module {}", make_context())
    PassManager.parse("gradcam-target-clock{mhz=50},gradcam-set-platform{pe=2x2 dram-width=8}").run(module)
    found = Platform.of(module.operation)
    assert (found.pe, found.dram and found.dram.width) == (PE(2, 2), 8)
    assert (found.family, found.mhz) == ("ecp5", 50.0)


def test_a_family_without_a_clock_is_kept_and_one_that_does_not_exist_refused():
    module = ir.Module.parse("module {}", make_context())
    PassManager.parse("gradcam-set-platform{family=xcup},gradcam-set-platform{pe=2x2}").run(module)
    assert Platform.of(module.operation) == Platform(PE(2, 2), family="xcup")
    with pytest.raises(PassFailure, match=r"there is no family 'ice40'"):
        PassManager.parse("gradcam-set-platform{family=ice40}").run(module)


@pytest.mark.parametrize("change", ["gradcam-target-clock{mhz=100}", "gradcam-set-platform{dram-width=8}"])
def test_a_platform_that_comes_after_the_schedule_is_refused(change):
    net = sums()
    module = Compilation(net, net.settings("4x4")).to("scheduled")
    with pytest.raises(PassFailure, match=r"the cycles are those of another platform; run gradcam-\S+ before"):
        PassManager.parse(f"{change},convert-affine-to-hw").run(module)


@pytest.mark.parametrize("options", ["pe=1099511627776x4", "dram-width=32 dram-latency=1000000000000000000000"])
def test_sizes_that_nothing_has_are_refused(options):
    with pytest.raises(PassFailure, match=r"has a side of more than 1024|a DRAM takes"):
        PassManager.parse(f"gradcam-set-platform{{{options}}}").run(ir.Module.parse("module {}", make_context()))
