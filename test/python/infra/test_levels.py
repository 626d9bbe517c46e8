"""Every pass refuses a module of another level in one line; the level that it takes is that of the compile."""

import contextlib

import pytest
import rtl_networks
from torch_mlir import ir

from gradcam import GradcamError, PassManager, frontend
from gradcam.compiler import Compilation
from gradcam.dialect import make_context
from gradcam.passes.infra.registry import lookup
from gradcam.passes.ir.levels import levels_of
from gradcam.passes.registry import PASSES

REQUIRED = {
    "gradcam-calibrate": {"images": "none.npy"},
    "gradcam-limit-memory": {"bytes": 1},
    "gradcam-target-clock": {"mhz": 50.0, "family": "ecp5"},
}


@pytest.fixture(scope="module")
def modules():
    """A module of every level, as bytecode."""
    net, names = rtl_networks.last_layer(), {"simplified": "gradcam", "scheduled": "affine"}
    settings = net.settings("4x4")
    torch = frontend.import_torch(net, target_layer=settings.target_layer)
    texts = {"torch": torch.operation.get_asm(binary=True)}
    for level, module in Compilation(net, settings):
        if level == "hw":
            break
        texts[names.get(level, level)] = module.operation.get_asm(binary=True)
    return texts


def test_the_levels_of_a_compile(modules):
    assert list(modules) == ["torch", "gradcam", "quantized", "linalg", "affine"]
    for level, text in modules.items():
        assert set(levels_of(ir.Module.parse(text, make_context()))) == {level}


@pytest.mark.parametrize("other", ["torch", "gradcam", "quantized", "linalg", "affine"])
def test_a_pass_refuses_every_other_level(modules, other):
    for name, _, _, _, level in PASSES:
        if level not in ("", other):
            module = ir.Module.parse(modules[other], make_context())
            with pytest.raises(
                GradcamError, match=rf"^pass '{name}' failed: takes a module with .*, this one has "
            ) as e:
                PassManager().add(lookup(name)(**REQUIRED.get(name, {}))).run(module)
            assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "text",
    [
        "module {}",
        "func.func @f(%a: i32) -> i32 { return %a : i32 }",
        "func.func private @main(tensor<1x3x4x8xf32>) -> tensor<1x4xf32>",
    ],
)
def test_modules_of_no_level_end_in_no_traceback(text):
    for name, _, _, _, level in PASSES:
        if level:
            manager = PassManager().add(lookup(name)(**REQUIRED.get(name, {})))
            with contextlib.suppress(GradcamError):  # a pass that finds nothing to do may take it
                manager.run(ir.Module.parse(text, make_context()))


@pytest.mark.parametrize("name", ["gradcam-quantize", "convert-gradcam-to-linalg", "gradcam-fold-batch-norm"])
def test_functions_of_other_types_are_refused(name):
    module = ir.Module.parse("func.func @f(%a: i32) -> i32 { return %a : i32 }", make_context())
    with pytest.raises(GradcamError, match="takes functions of tensors, this module has one of i32"):
        PassManager.parse(name).run(module)


def test_a_function_without_an_op_of_a_level_is_taken():
    text = "func.func @main(%a: tensor<1x3x4x8xf32>) -> tensor<1x3x4x8xf32> { return %a : tensor<1x3x4x8xf32> }"
    PassManager.parse("gradcam-fold-batch-norm").run(ir.Module.parse(text, make_context()))
