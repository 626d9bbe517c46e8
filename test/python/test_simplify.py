"""The simplified backward pass computes what the derived one does, with less."""

from __future__ import annotations

import numpy as np
import pytest
from random_cnn import Network, op_names, random_case, relative_error
from torch_mlir import ir

from gradcam.dialect import adjoint_ops, cam_ops, make_context
from gradcam.passes import rewrites, simplify_backward, spatial_mean
from gradcam.passes.derive_backward import DeriveBackward
from gradcam.passes.simplify_backward import SimplifyBackward
from gradcam.reference.float32 import KERNELS, run_float
from gradcam.reference.interpreter import run

TOLERANCE = 1e-5


def tensor(*shape: int, element: str = "f32") -> str:
    return f"tensor<{'x'.join(map(str, (*shape, element)))}>"


def window(kernel=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), **more) -> str:
    sizes = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    parts = [f"{name} = [{v[0]}, {v[1]}]" for name, v in sizes.items() if v is not None]
    return "{" + ", ".join(parts + [f"{name} = {value}" for name, value in more.items()]) + "}"


def conv(**attributes) -> str:
    return window(groups=attributes.pop("groups", "1 : i64"), **attributes)


def avg(kernel, stride=None, include="true", **attributes) -> str:
    return window(kernel, stride or kernel, count_include_pad=include, **attributes)


CLS = "%cls = " + tensor(1, element="i32")

#: Per case: arguments ("%name = type"), shapes of f32 constants, ops (result, name, operands, attributes, shape of the
#: result; the last one is y), and the op names after the pass.
CASES = {
    "class_row": (
        [CLS],
        {"w": (3, 4)},
        [("s", "one_hot", "cls", "", (1, 3)), ("y", "linear_adjoint", "s w", "", (1, 4))],
        ["constant", "class_row"],
    ),
    "flatten of unflatten": (
        ["%g = " + tensor(1, 12)],
        {},
        [("u", "unflatten", "g", "", (1, 3, 2, 2)), ("y", "flatten", "u", "", (1, 12))],
        [],
    ),
    "unflatten of flatten": (
        ["%g = " + tensor(1, 3, 2, 2)],
        {},
        [("u", "flatten", "g", "", (1, 12)), ("y", "unflatten", "u", "", (1, 3, 2, 2))],
        [],
    ),
    "unflatten to another shape stays": (
        ["%g = " + tensor(1, 3, 2, 2)],
        {},
        [("u", "flatten", "g", "", (1, 12)), ("y", "unflatten", "u", "", (1, 2, 3, 2))],
        ["flatten", "unflatten"],
    ),
    "scale moves out": (
        ["%g = " + tensor(1, 3, 2, 2), "%m = " + tensor(1, 3, 2, 2)],
        {},
        [
            ("a", "scale", "g", "{factor = 0.5 : f64}", (1, 3, 2, 2)),
            ("b", "relu_adjoint", "a m", "", (1, 3, 2, 2)),
            ("c", "scale", "b", "{factor = 4.0 : f64}", (1, 3, 2, 2)),
            ("y", "channel_weights", "c", "", (1, 3)),
        ],
        ["relu_adjoint", "channel_weights", "scale"],
    ),
    "scales that cancel": (
        ["%g = " + tensor(1, 3)],
        {},
        [
            ("a", "scale", "g", "{factor = 0.5 : f64}", (1, 3)),
            ("y", "scale", "a", "{factor = 2.0 : f64}", (1, 3)),
        ],
        [],
    ),
    "common scale": (
        ["%g = " + tensor(1, 3), "%h = " + tensor(1, 3)],
        {},
        [
            ("a", "scale", "g", "{factor = 0.5 : f64}", (1, 3)),
            ("b", "scale", "h", "{factor = 0.5 : f64}", (1, 3)),
            ("y", "add", "a b", "", (1, 3)),
        ],
        ["add", "scale"],
    ),
    "mean of a pool's adjoint": (
        ["%g = " + tensor(1, 3, 3, 2)],
        {},
        [
            ("a", "avg_pool2d_adjoint", "g", avg((3, 2), (2, 3)), (1, 3, 8, 6)),
            ("y", "channel_weights", "a", "", (1, 3)),
        ],
        ["channel_weights", "scale"],
    ),
    "mean of a pool's adjoint, padding not counted": (
        ["%g = " + tensor(1, 3, 4, 4)],
        {},
        [
            ("a", "avg_pool2d_adjoint", "g", avg((3, 3), (2, 2), "false", padding=(1, 1)), (1, 3, 8, 7)),
            ("y", "channel_weights", "a", "", (1, 3)),
        ],
        ["channel_weights", "scale"],
    ),
    "mean of a pool's adjoint, padding counted, stays": (
        ["%g = " + tensor(1, 3, 4, 4)],
        {},
        [
            ("a", "avg_pool2d_adjoint", "g", avg((3, 3), (2, 2), "true", padding=(1, 1)), (1, 3, 8, 7)),
            ("y", "channel_weights", "a", "", (1, 3)),
        ],
        ["avg_pool2d_adjoint", "channel_weights"],
    ),
    "mean of a 3x3 adjoint": (
        ["%g = " + tensor(1, 4, 6, 5)],
        {"w": (4, 3, 3, 3)},
        [
            ("a", "conv2d_adjoint", "g w", conv(padding=(1, 1)), (1, 3, 6, 5)),
            ("y", "channel_weights", "a", "", (1, 3)),
        ],
        ["constant", "avg_pool2d", "conv2d_adjoint", "flatten"],
    ),
    "mean of a dilated, grouped, uneven adjoint": (
        ["%g = " + tensor(1, 4, 5, 9)],
        {"w": (4, 3, 3, 2)},
        [
            ("a", "conv2d_adjoint", "g w", conv(padding=(1, 0), dilation=(2, 1), groups="2 : i64"), (1, 6, 7, 10)),
            ("y", "channel_weights", "a", "", (1, 6)),
        ],
        ["constant", "avg_pool2d", "conv2d_adjoint", "flatten"],
    ),
    "mean of a strided 3x3 adjoint stays": (
        ["%g = " + tensor(1, 4, 3, 3)],
        {"w": (4, 3, 3, 3)},
        [
            ("a", "conv2d_adjoint", "g w", conv(stride=(2, 2), padding=(1, 1)), (1, 3, 6, 5)),
            ("y", "channel_weights", "a", "", (1, 3)),
        ],
        ["constant", "conv2d_adjoint", "channel_weights"],
    ),
    "mean of a strided 1x1 adjoint": (
        ["%g = " + tensor(1, 4, 3, 3)],
        {"w": (4, 3, 1, 1)},
        [
            ("a", "conv2d_adjoint", "g w", conv(stride=(2, 2)), (1, 3, 6, 5)),
            ("y", "channel_weights", "a", "", (1, 3)),
        ],
        ["constant", "channel_weights", "unflatten", "conv2d_adjoint", "flatten", "scale"],
    ),
    "mean of a sum": (
        ["%g = " + tensor(1, 3, 1, 1), "%h = " + tensor(1, 3, 4, 4)],
        {},
        [
            ("a", "avg_pool2d_adjoint", "g", avg((4, 4)), (1, 3, 4, 4)),
            ("b", "add", "a h", "", (1, 3, 4, 4)),
            ("y", "channel_weights", "b", "", (1, 3)),
        ],
        ["flatten", "scale", "channel_weights", "add"],
    ),
    "HiResCAM behind a global pool": (
        ["%g = " + tensor(1, 3, 1, 1), "%x = " + tensor(1, 3, 4, 5)],
        {},
        [
            ("a", "avg_pool2d_adjoint", "g", avg((4, 5)), (1, 3, 4, 5)),
            ("y", "weighted_sum", "a x", "", (1, 4, 5)),
        ],
        ["flatten", "weighted_sum", "scale"],
    ),
    "HiResCAM of a 1x1 map": (
        ["%g = " + tensor(1, 3, 1, 1), "%x = " + tensor(1, 3, 1, 1)],
        {},
        [("y", "weighted_sum", "g x", "", (1, 1, 1))],
        ["flatten", "weighted_sum"],
    ),
    "table of means": (
        [CLS],
        {"w": (3, 48)},
        [
            ("r", "class_row", "w cls", "", (1, 48)),
            ("u", "unflatten", "r", "", (1, 12, 2, 2)),
            ("a", "avg_pool2d_adjoint", "u", avg((3, 3)), (1, 12, 7, 6)),
            ("y", "channel_weights", "a", "", (1, 12)),
        ],
        ["constant", "class_row", "scale"],
    ),
    "table of a slice": (
        [CLS],
        {"w": (3, 12), "gamma": (6,), "var": (6,)},
        [
            ("r", "class_row", "w cls", "", (1, 12)),
            ("u", "unflatten", "r", "", (1, 12, 1, 1)),
            ("a", "avg_pool2d_adjoint", "u", avg((4, 4)), (1, 12, 4, 4)),
            ("s", "channel_slice", "a", "{offset = 5 : i64}", (1, 6, 4, 4)),
            ("b", "batch_norm_adjoint", "s gamma var", "{eps = 1.0e-5 : f64}", (1, 6, 4, 4)),
            ("y", "channel_weights", "b", "", (1, 6)),
        ],
        ["constant", "class_row", "scale"],
    ),
    "table through two linear layers": (
        [CLS],
        {"w": (3, 12), "v": (12, 8)},
        [("r", "class_row", "w cls", "", (1, 12)), ("y", "linear_adjoint", "r v", "", (1, 8))],
        ["constant", "class_row"],
    ),
    "table that would grow stays": (
        [CLS],
        {"w": (3, 8), "v": (8, 12)},
        [("r", "class_row", "w cls", "", (1, 8)), ("y", "linear_adjoint", "r v", "", (1, 12))],
        ["constant", "constant", "class_row", "linear_adjoint"],
    ),
}


def case_text(arguments, constants, body) -> str:
    """A module with one function that returns %y."""
    types = dict(argument[1:].split(" = ") for argument in arguments)
    types.update({name: tensor(*shape) for name, shape in constants.items()})
    rng = np.random.default_rng(0)
    lines = []
    for name, shape in constants.items():
        values = np.abs(rng.standard_normal(shape)).round(3) + 0.1
        lines.append(f"%{name} = arith.constant dense<{values.tolist()}> : {types[name]}")
    for result, op, operands, attributes, shape in body:
        types[result] = tensor(*shape)
        names, inputs = ", ".join(f"%{n}" for n in operands.split()), ", ".join(types[n] for n in operands.split())
        lines.append(f'%{result} = "gradcam.{op}"({names}) {attributes} : ({inputs}) -> {types[result]}')
    signature = ", ".join(argument.replace(" =", ":") for argument in arguments)
    body_text = "\n  ".join([*lines, f"return %y : {types['y']}"])
    return f"func.func @main({signature}) -> {types['y']} {{\n  {body_text}\n}}"


def before_and_after(text: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The result before and after the pass, and the op names after it."""
    with make_context():
        module = ir.Module.parse(text)
        rng = np.random.default_rng(1)
        shapes = [ir.RankedTensorType(a.type).shape for a in module.body.operations[0].arguments]
        inputs = [np.array([1], np.int32) if s == [1] else rng.standard_normal(s).astype(np.float32) for s in shapes]
        (before,) = run(module, inputs, KERNELS)
        SimplifyBackward().run(module)
        module.operation.verify()
        (after,) = run(module, inputs, KERNELS)
        return before, after, op_names(module)[:-1]


@pytest.mark.parametrize("case", CASES)
def test_pattern(case):
    arguments, constants, body, wanted = CASES[case]
    before, after, names = before_and_after(case_text(arguments, constants, body))
    assert names == wanted
    assert relative_error(after, before) <= TOLERANCE


def test_wrong_pattern_is_caught(monkeypatch):
    """The comparison above can fail: a mean that forgets the ratio of the areas is noticed."""

    def wrong(op):
        pool = op.g.owner
        return rewrites.rebuilt(op, pool.g) if isinstance(pool, adjoint_ops.AvgPool2dAdjointOp) else None

    monkeypatch.setitem(simplify_backward.PATTERNS, cam_ops.ChannelWeightsOp, [spatial_mean.mean_of_point, wrong])
    before, after, _ = before_and_after(case_text(*CASES["mean of a pool's adjoint"][:3]))
    assert relative_error(after, before) > 0.1


@pytest.mark.parametrize("block", range(6))
def test_generated_networks(block):
    """60 networks, both methods: the simplified module equals the derived one and autograd."""
    for seed in range(10 * block, 10 * block + 10):
        net, target = random_case(seed)
        for method in ("gradcam", "hirescam"):
            with make_context():
                module = net.module(target, method)
                DeriveBackward().run(module)
                before = run_float(module, net.image.numpy())
                SimplifyBackward().run(module)
                module.operation.verify()
                after = run_float(module, net.image.numpy())
            assert np.array_equal(after[0], before[0])
            assert relative_error(after[1], before[1]) <= TOLERANCE, (seed, method)
            assert relative_error(after[1], net.oracle(target, method)[1]) <= TOLERANCE, (seed, method)


def residual_network() -> tuple[Network, int]:
    """A stem and a residual block, then a global average pool and a linear layer; the block's output is the target."""
    net = Network((1, 3, 8, 6), 0)
    x = net.relu(net.conv(0, 4, (3, 3), padding=(1, 1)))
    target = net.relu(net.add(net.conv(net.relu(net.conv(x, 4, (3, 3), padding=(1, 1))), 4, (1, 1)), x))
    net.linear(net.flatten(net.global_pool(target)), 5)
    return net, target


def simplified(net: Network, target: int, method: str) -> ir.Module:
    module = net.module(target, method)
    DeriveBackward().run(module)
    SimplifyBackward().run(module)
    return module


def test_global_pool_and_linear_head_leave_no_backward_pass():
    net, target = residual_network()
    with make_context():
        module = simplified(net, target, "gradcam")
        names = op_names(module)
        assert names[names.index("select_class") :] == ["select_class", "class_row", "weighted_sum", "scale", "return"]
        *_, linear, _, row, _, scale, _ = module.body.operations[0].entry_block.operations
        assert row.w == linear.w, "the row comes from the classifier's own weight"
        assert scale.factor.value == 1 / 48


def test_hirescam_with_the_same_head_is_the_same_ir():
    net, target = residual_network()
    with make_context():
        cam, hires = (str(simplified(net, target, method)) for method in ("gradcam", "hirescam"))
    assert cam != hires, "the method stays in the function's attribute"
    assert cam == hires.replace('method = "hirescam"', 'method = "gradcam"')


def test_replacements_keep_locations():
    net, target = residual_network()
    with make_context():
        module = simplified(net, target, "gradcam")
        *_, row, _, _, _ = module.body.operations[0].entry_block.operations
        assert str(row.location) == f'loc("node{len(net.nodes) - 1}.adjoint")'


def test_equal_constants_of_two_layers_stay_apart():
    """Upstream folding would merge them and lose a layer's name."""
    text = """func.func @main() -> (tensor<2xf32>, tensor<2xf32>) {
      %a = arith.constant dense<1.0> : tensor<2xf32> loc("a")
      %b = arith.constant dense<1.0> : tensor<2xf32> loc("b")
      return %a, %b : tensor<2xf32>, tensor<2xf32>
    }"""
    with make_context():
        module = ir.Module.parse(text)
        SimplifyBackward().run(module)
        assert op_names(module) == ["constant", "constant", "return"]
