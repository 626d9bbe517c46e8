#!/usr/bin/env bash
# MNN 3.6.1: its converter, mnnconvert, runs `pip install -U aliyun-log-python-sdk`, the client of a logging service, with
# whatever `pip` is first on the PATH, which need not be that of its own environment. There the packages that this one asks
# for take the place of others: with aliyun-log-python-sdk 0.9.52 protobuf falls from 7 to 5.29, and onnx 1.23 no longer
# imports. A guess would be that a converter reads a model and writes one. Here `pip` is a script that only writes down how
# it is called.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet MNN==3.6.1 onnx==1.23.2 numpy==2.4.6
mkdir "$work/first"
printf '#!/bin/sh\necho "$@" >> "%s/calls"\n' "$work" > "$work/first/pip"
chmod +x "$work/first/pip"
cat > "$work/model.py" <<'PYTHON'
import onnx
from onnx import TensorProto, helper

ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", ports[:1], ports[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model)
onnx.save(model, "model.onnx")
PYTHON
cd "$work"
venv/bin/python model.py
PATH="$work/first:$PATH" venv/bin/mnnconvert -f ONNX --modelFile model.onnx --MNNModel model.mnn --bizCode test > log 2>&1
test -s model.mnn
echo "mnnconvert called: pip $(sort -u calls)"
grep -qx "install -U aliyun-log-python-sdk" calls || { echo "the behaviour has changed"; exit 1; }
