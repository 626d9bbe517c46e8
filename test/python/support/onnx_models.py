"""Small ONNX models, and what executes them: onnxruntime, and the torch ops of level 0 by PyTorch."""

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as functional
from onnx import TensorProto, helper, numpy_helper, shape_inference
from torch_mlir import ir

from gradcam import frontend
from gradcam.passes.torch import torch_ir

SHAPE = (1, 4, 8, 8)


def node(op, inputs, outputs="y", **attributes):
    """A node; names of inputs and outputs are separated by spaces, `_` is an input that is left out."""
    names = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), name=f"{op} {outputs.split()[0]}", **attributes)


def graph(nodes, constants=None, shape=SHAPE, opset=17, **model):
    """A model that maps "x" to the last node's first output."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    made = helper.make_graph(nodes, "made", [x], [y], tensors)
    ir_version = helper.find_min_ir_version_for([helper.make_opsetid("", opset)], ignore_unknown=True)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version, **model)
    return shape_inference.infer_shapes(model, data_prop=True)


def classifier(nodes, constants=None, shape=SHAPE, opset=17, classes=3):
    """A model of a convolution that gives "m", of nodes that make "y" of it, and of a linear layer behind them."""
    rng = np.random.default_rng(0)
    first = node("Conv", "x conv.weight", "m", pads=[1, 1, 1, 1])
    weights = {"conv.weight": _normal(rng, shape[1], shape[1], 3, 3)}
    body = graph([first, *nodes], weights | (constants or {}), shape, max(opset, 9))  # before, constants have no shape
    features = int(np.prod([dim.dim_value for dim in body.graph.output[0].type.tensor_type.shape.dim]))
    weights |= {"fc.weight": _normal(rng, classes, features), "fc.bias": _normal(rng, classes)}
    last = [node("Flatten", "y", "f"), node("Gemm", "f fc.weight fc.bias", "logits", transB=1)]
    return graph([first, *nodes, *last], weights | (constants or {}), shape, opset)


def _normal(rng, *shape):
    return (rng.standard_normal(shape) / max(np.prod(shape[1:]), 1) ** 0.5).astype(np.float32)


def saved(model, folder, name="model.onnx"):
    """The model as a file."""
    path = folder / name
    onnx.save(model, path)
    return path


def by_onnxruntime(model, image):
    """The first output, computed by onnxruntime as the graph says, without its optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    data = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})[0]


def by_torch(path, image, input_shape=None):
    """The output of the torch ops that a file is imported as, executed by PyTorch."""
    module = frontend.import_torch(frontend.load_model(path), input_shape)
    block = module.body.operations[0].regions[0].blocks[0]
    values = {block.arguments[0]: torch.from_numpy(image)}
    for op in (op.operation for op in block.operations):
        operands = [values[operand] for operand in op.operands]
        if op.name == "func.return":
            return operands[0].numpy()
        results = _executed(op, operands)
        values.update(zip(op.results, results, strict=True))
    raise AssertionError("a function returns")


def _executed(op, operands):
    if op.name == torch_ir.LIST:
        return [operands]
    if op.name == torch_ir.LITERAL:
        return [torch.from_numpy(np.asarray(ir.DenseElementsAttr(op.attributes["value"])).copy())]
    if op.name in torch_ir.ARGUMENTS:
        return [torch_ir.static_argument(op.results[0])]
    if torch_ir.op_name(op) == "gradcam.avg_pool2d":
        return [_uncounted(*operands)]
    packet, _, overload = torch_ir.op_name(op).removeprefix("aten.").partition(".")
    function = getattr(getattr(torch.ops.aten, packet), overload or "default")
    given = list(zip(function._schema.arguments, operands, strict=False))
    named = {a.name: value for a, value in given if a.kwarg_only}
    result = function(*(value for a, value in given if not a.kwarg_only), **named)
    return list(result) if isinstance(result, tuple) else [result]


def _uncounted(x, kernel, stride, padding):
    """The mean of what a window has of the map, by its definition."""
    top, left, bottom, right = padding
    sums, counts = (
        functional.avg_pool2d(functional.pad(t, (left, right, top, bottom)), kernel, stride)
        for t in (x, torch.ones_like(x))
    )
    return sums / counts
