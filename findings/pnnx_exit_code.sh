#!/usr/bin/env bash
# pnnx 20261020 with ncnn 1.0.20261020: of a model with an operator that ncnn does not have, such as ArgMax, pnnx writes
# "ignore" among a hundred lines and ends with exit code 0. It leaves a network with a layer that does not exist, which ncnn
# does not load. A guess would be an exit code that says so, as other converters have.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet \
  ncnn==1.0.20261020 pnnx==20261020 onnx==1.23.2 numpy==2.4.6
cat > "$work/model.py" <<'PYTHON'
import onnx
from onnx import TensorProto, helper

x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])
y = helper.make_tensor_value_info("y", TensorProto.INT64, [1])
nodes = {"ArgMax": helper.make_node("ArgMax", ["x"], ["y"], axis=1, keepdims=0), "Relu": helper.make_node("Relu", ["x"], ["y"])}
for name, node in nodes.items():
    result = y if name == "ArgMax" else helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])
    graph = helper.make_graph([node], "graph", [x], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, f"{name}.onnx")
PYTHON
cat > "$work/load.py" <<'PYTHON'
import sys

import ncnn

print("loads" if ncnn.Net().load_param(sys.argv[1]) == 0 else "does not load")
PYTHON
cd "$work"
venv/bin/python model.py
for name in Relu ArgMax; do
  code=0
  venv/bin/pnnx "$name.onnx" 'inputshape=[1,8]f32' > "$name.log" 2>&1 || code=$?
  echo "$name: exit code $code; ncnn $(venv/bin/python load.py "$name.ncnn.param" 2> /dev/null)" | tee -a found
done
grep -qx "Relu: exit code 0; ncnn loads" found && grep -qx "ArgMax: exit code 0; ncnn does not load" found ||
  { echo "the behaviour has changed"; exit 1; }
