#!/usr/bin/env bash
# torch-mlir 20261001: an ONNX AveragePool with ceil_mode and count_include_pad divides every sum by the size of the whole
# window. A window that ceil_mode lets hang over the padded image has fewer values, and onnxruntime and ONNX's own
# evaluator (and PyTorch) divide by their number. Nothing is said. Of an image of ones the corner is 0.25 there, and 1/9
# here. A guess would be that an importer which takes both attributes means the same by them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet \
  torch-mlir==20261001 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$work/pool.py" <<'PYTHON'
import re

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from torch_mlir import ir
from torch_mlir.dialects import torch as torch_dialect
from torch_mlir.extras.onnx_importer import ModelInfo, NodeImporter
from torch_mlir.passmanager import PassManager

ATTRIBUTES = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1, "count_include_pad": 1}
PASSES = (
    "builtin.module(func.func(convert-torch-onnx-to-torch,torch-decompose-complex-ops),"
    "torch-backend-to-linalg-on-tensors-backend-pipeline)"
)
ports = [
    helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 6, 6]),
    helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 4, 4]),
]
graph = helper.make_graph([helper.make_node("AveragePool", ["x"], ["y"], **ATTRIBUTES)], "pool", ports[:1], ports[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
onnx.checker.check_model(model, full_check=True)

ones = np.ones((1, 1, 6, 6), np.float32)
(runtime,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": ones})
(evaluator,) = ReferenceEvaluator(model).run(None, {"x": ones})

with ir.Context() as context:
    torch_dialect.register_dialect(context)
    info = ModelInfo(model)
    module = info.create_module(context=context)
    NodeImporter.define_function(info.main_graph, module.operation).import_all()
    PassManager.parse(PASSES, context).run(module.operation)
    text = str(module)

values = dict(re.findall(r"(%\w+) = arith.constant (\S+) : f32", text))
divisors = [float(values[name]) for name in re.findall(r"arith.divf %\w+, (%\w+) ", text)]
# Windows begin at rows and columns -1, 1, 3 and 5 of an image whose padding ends behind row and column 6.
inside = np.array([min(start + 3, 7) - start for start in (-1, 1, 3, 5)])
sums = np.array([min(start + 3, 6) - max(start, 0) for start in (-1, 1, 3, 5)])
wanted = np.outer(sums, sums) / np.outer(inside, inside)
print(f"values in the windows:\n{np.outer(inside, inside)}\ntorch-mlir divides every sum by {divisors}")
print(f"corner: onnxruntime {runtime[0, 0, 3, 3]}, evaluator {evaluator[0, 0, 3, 3]}")
np.testing.assert_allclose(runtime[0, 0], wanted, rtol=1e-6)
np.testing.assert_allclose(evaluator[0, 0], wanted, rtol=1e-6)
assert divisors == [9.0] and "linalg.pooling_nchw_sum" in text, "the behaviour has changed"
PYTHON
"$work/venv/bin/python" "$work/pool.py"
