"""The dialect: every op round-trips and is verified, the C++ tool takes its IRDL, and it loads into any context."""

from __future__ import annotations

import gc
import io
import re
import subprocess
from pathlib import Path

import pytest
import torch_mlir
from folders import ROOT
from torch_mlir import ir

from gradcam.dialect import GradCAM, adjoints, cam_ops, irdl_text, make_context, ops, register_and_load
from gradcam.dialect.traits import Forward, Slope, has
from gradcam.execution.float32 import KERNELS

LIT = ROOT / "test" / "lit" / "dialect"
TORCH_MLIR_OPT = Path(torch_mlir.__path__[0]) / "_mlir_libs" / "torch-mlir-opt"
RELU = """func.func @main(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %y = "gradcam.relu"(%x) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %y : tensor<1x2x4x4xf32>
}"""


def dialect_ops() -> set[str]:
    return set(re.findall(r"irdl\.operation @(\w+)", irdl_text()))


def ops_in(text: str) -> set[str]:
    return set(re.findall(r'"gradcam\.(\w+)"\(', text))


@pytest.mark.parametrize("name", ["ops.mlir", "invalid.mlir"])
def test_lit_files_cover_every_op(name):
    lines = (LIT / name).read_text().splitlines()
    assert ops_in("\n".join(line for line in lines if not line.startswith("//"))) == dialect_ops()


def test_round_trip_of_every_op():
    with make_context():
        module = ir.Module.parse((LIT / "ops.mlir").read_text())
        text = str(module)
        assert ops_in(text) == dialect_ops()
        assert str(ir.Module.parse(text)) == text
        bytecode = io.BytesIO()
        module.operation.write_bytecode(bytecode)
        assert str(ir.Module.parse(bytecode.getvalue())) == text


def test_irdl_is_accepted_by_torch_mlir_opt(tmp_path):
    irdl = tmp_path / "gradcam.irdl.mlir"
    irdl.write_text(irdl_text())

    def tool(text):
        command = [TORCH_MLIR_OPT, f"--irdl-file={irdl}", "-"]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)

    accepted = tool((LIT / "ops.mlir").read_text())
    assert accepted.returncode == 0, accepted.stderr
    assert ops_in(accepted.stdout) == dialect_ops()
    refused = tool(RELU.replace("gradcam.relu", "gradcam.gelu"))
    assert refused.returncode != 0
    assert "gelu" in refused.stderr


def test_every_op_has_f32_semantics():
    executable = {name.split(".")[1] for name in KERNELS}
    assert executable == dialect_ops() - {"explain"}, "explain is replaced before anything runs"


def test_every_forward_op_has_an_adjoint():
    forward = {kind for kind in GradCAM.operations if has(kind, Forward) and not has(kind, Slope)}
    assert set(adjoints.ADJOINTS) == forward


def test_fresh_contexts_know_the_dialect():
    with make_context():
        module = ir.Module.parse(RELU)
        assert isinstance(module.body.operations[0].entry_block.operations[0], ops.ReluOp)


def test_a_context_without_the_dialect_does_not_parse_it():
    with ir.Context(), pytest.raises(ir.MLIRError):
        ir.Module.parse(RELU)


def test_repeated_load_does_nothing():
    context = make_context()
    register_and_load(context)
    register_and_load(context)
    with context:
        ir.Module.parse(RELU).operation.verify()


def test_several_contexts_and_coming_back():
    first, second = make_context(), make_context()
    with first:
        one = ir.Module.parse(RELU)
    with second:
        two = ir.Module.parse(RELU)
        with first:
            assert isinstance(one.body.operations[0].entry_block.operations[0], ops.ReluOp)
        assert isinstance(two.body.operations[0].entry_block.operations[0], ops.ReluOp)
    with first:
        assert str(ir.Module.parse(RELU)) == str(one) == str(two)


def test_ops_are_built_in_every_context():
    for _ in range(2):
        with make_context(), ir.Location.unknown():
            module = ir.Module.parse(RELU)
            block = module.body.operations[0].entry_block
            with ir.InsertionPoint(block.operations[1]):
                x = block.arguments[0]
                target = cam_ops.TargetOp(x, ir.StringAttr.get("layer4"), x.type)
            assert target.path.value == "layer4"
            module.operation.verify()


def test_contexts_are_collected():
    gc.collect()
    alive = ir.Context._get_live_count()
    for _ in range(3):
        context = make_context()
        with context:
            ir.Module.parse(RELU).operation.verify()
        del context
        gc.collect()
    assert ir.Context._get_live_count() == alive
    with make_context():
        ir.Module.parse(RELU).operation.verify()


def test_verifier_reports_at_the_op():
    wrong = RELU.replace("-> tensor<1x2x4x4xf32>\n  return", "-> tensor<1x2x4x5xf32>\n  return")
    wrong = wrong.replace("return %y : tensor<1x2x4x4xf32>", "return %x : tensor<1x2x4x4xf32>")
    with make_context(), pytest.raises(ir.MLIRError, match=r'"-":2:8.*result must have shape 1x2x4x4') as caught:
        ir.Module.parse(wrong)
    assert "gradcam.relu" in str(caught.value)
