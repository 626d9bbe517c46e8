#!/usr/bin/env bash
# onnxruntime 1.32.0 on x86-64: of a quantized model (QuantizeLinear, DequantizeLinear around every operator) a convolution
# of uint8 activations runs in integers (QLinearConv), and the same one of int8 activations in float: values are
# dequantized, multiplied in float and quantized again, without a word. The session option session.qdqisint8allowed=1
# makes it integers, too. A guess would be that int8, which ONNX allows beside uint8, is treated the same.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$work/qdq.py" <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def model(kind):
    constants = {
        "scale": np.float32(0.05),
        "zero": np.array(128 if kind == "uint8" else 0, kind),
        "weight_scale": np.float32(0.02),
        "weight_zero": np.int8(0),
        "weights": np.random.default_rng(0).integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "out_scale": np.float32(0.4),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["weights", "weight_scale", "weight_zero"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "out_scale", "zero"], ["y"]),
    ]
    ports = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8]),
        helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(np.dtype(kind)), [1, 4, 6, 6]),
    ]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", ports[:1], ports[1:], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def convolution(kind, **entries):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 3, "optimized.onnx"
    for name, value in entries.items():
        options.add_session_config_entry(f"session.{name}", value)
    onnxruntime.InferenceSession(model(kind), options, providers=["CPUExecutionProvider"])
    return next(node.op_type for node in onnx.load("optimized.onnx").graph.node if "Conv" in node.op_type)


found = [convolution("uint8"), convolution("int8"), convolution("int8", qdqisint8allowed="1")]
print(f"uint8: {found[0]}; int8: {found[1]}; int8 with session.qdqisint8allowed=1: {found[2]}")
assert found == ["QLinearConv", "Conv", "QLinearConv"], "the behaviour has changed"
PYTHON
cd "$work"
venv/bin/python qdq.py
