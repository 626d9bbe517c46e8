"""Small backward passes by the pattern that matches them, or must not, and what is left of each."""

from __future__ import annotations

import numpy as np


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


#: Pieces of a relu.
RELU = "{closed = false, lo = 0.0 : f64, hi = 0x7FF0000000000000 : f64, slope = 0.0 : f64}"
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
            ("b", "activation_adjoint", "a m", RELU, (1, 3, 2, 2)),
            ("c", "scale", "b", "{factor = 4.0 : f64}", (1, 3, 2, 2)),
            ("y", "channel_weights", "c", "", (1, 3)),
        ],
        ["activation_adjoint", "channel_weights", "scale"],
    ),
    "mean of an upsampling's adjoint": (
        ["%g = " + tensor(1, 3, 6, 6)],
        {},
        [
            ("u", "upsample2d_adjoint", "g", "{kernel = [2, 3]}", (1, 3, 3, 2)),
            ("y", "channel_weights", "u", "", (1, 3)),
        ],
        ["channel_weights", "scale"],
    ),
    "mean of an adaptive pool's adjoint": (
        ["%g = " + tensor(1, 3, 4, 7)],
        {},
        [("a", "adaptive_avg_pool2d_adjoint", "g", "", (1, 3, 6, 5)), ("y", "channel_weights", "a", "", (1, 3))],
        ["channel_weights", "scale"],
    ),
    "adaptive pool's adjoint of a row": (
        [CLS],
        {"w": (3, 24)},
        [
            ("s", "one_hot", "cls", "", (1, 3)),
            ("l", "linear_adjoint", "s w", "", (1, 24)),
            ("u", "unflatten", "l", "", (1, 2, 3, 4)),
            ("y", "adaptive_avg_pool2d_adjoint", "u", "", (1, 2, 2, 5)),
        ],
        ["constant", "class_row"],
    ),
    "upsampling's adjoint of equal shares": (
        ["%g = " + tensor(1, 3, 1, 1)],
        {},
        [
            ("p", "avg_pool2d_adjoint", "g", avg((6, 6)), (1, 3, 6, 6)),
            ("y", "upsample2d_adjoint", "p", "{kernel = [2, 3]}", (1, 3, 3, 2)),
        ],
        ["avg_pool2d_adjoint"],
    ),
    "upsampling's adjoint of other shares stays": (
        ["%g = " + tensor(1, 3, 2, 2)],
        {},
        [
            ("p", "avg_pool2d_adjoint", "g", avg((3, 3)), (1, 3, 6, 6)),
            ("y", "upsample2d_adjoint", "p", "{kernel = [2, 3]}", (1, 3, 3, 2)),
        ],
        ["avg_pool2d_adjoint", "upsample2d_adjoint"],
    ),
    "upsampling's adjoint of a row": (
        [CLS],
        {"w": (3, 16)},
        [
            ("s", "one_hot", "cls", "", (1, 3)),
            ("l", "linear_adjoint", "s w", "", (1, 16)),
            ("u", "unflatten", "l", "", (1, 2, 2, 4)),
            ("y", "upsample2d_adjoint", "u", "{kernel = [1, 2]}", (1, 2, 2, 2)),
        ],
        ["constant", "class_row"],
    ),
    "mean of a gate": (
        ["%g = " + tensor(1, 3, 2, 2), "%s = " + tensor(1, 3, 1, 1)],
        {},
        [("m", "mul", "g s", "", (1, 3, 2, 2)), ("y", "channel_weights", "m", "", (1, 3))],
        ["flatten", "channel_weights", "mul"],
    ),
    "mean of a product of maps stays": (
        ["%g = " + tensor(1, 3, 2, 2), "%s = " + tensor(1, 3, 2, 2)],
        {},
        [("m", "mul", "g s", "", (1, 3, 2, 2)), ("y", "channel_weights", "m", "", (1, 3))],
        ["mul", "channel_weights"],
    ),
    "mean of a sum with a gate": (
        ["%g = " + tensor(1, 3, 2, 2), "%s = " + tensor(1, 3), "%h = " + tensor(1, 3, 1, 1)],
        {},
        [
            ("m", "mul", "g s", "", (1, 3, 2, 2)),
            ("p", "avg_pool2d_adjoint", "h", avg((2, 2)), (1, 3, 2, 2)),
            ("z", "add", "m p", "", (1, 3, 2, 2)),
            ("y", "channel_weights", "z", "", (1, 3)),
        ],
        ["channel_weights", "mul", "flatten", "scale", "add"],
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
    "mean of a max pool's adjoint": (
        ["%g = " + tensor(1, 3, 4, 4), "%x = " + tensor(1, 3, 8, 7)],
        {},
        [
            ("a", "max_pool2d_adjoint", "g x", window((3, 3), (2, 2), (1, 1)), (1, 3, 8, 7)),
            ("y", "channel_weights", "a", "", (1, 3)),
        ],
        ["channel_weights", "scale"],
    ),
    "mean of a batch norm's adjoint": (
        ["%g = " + tensor(1, 3, 4, 4)],
        {"gamma": (3,), "var": (3,)},
        [
            ("a", "batch_norm_adjoint", "g gamma var", "{eps = 1.0e-5 : f64}", (1, 3, 4, 4)),
            ("y", "channel_weights", "a", "", (1, 3)),
        ],
        ["constant", "constant", "channel_weights", "unflatten", "batch_norm_adjoint", "flatten"],
    ),
    "mean of an adjoint that goes on stays": (
        ["%g = " + tensor(1, 4, 6, 5)],
        {"w": (4, 3, 3, 3)},
        [
            ("a", "conv2d_adjoint", "g w", conv(padding=(1, 1)), (1, 3, 6, 5)),
            ("m", "channel_weights", "a", "", (1, 3)),
            ("s", "weighted_sum", "m a", "", (1, 6, 5)),
            ("y", "scale", "s", "{factor = 2.0 : f64}", (1, 6, 5)),
        ],
        ["constant", "conv2d_adjoint", "channel_weights", "weighted_sum", "scale"],
    ),
    "mean of a 3x3 adjoint": (
        ["%g = " + tensor(1, 4, 6, 5)],
        {"w": (4, 3, 3, 3)},
        [
            ("a", "conv2d_adjoint", "g w", conv(padding=(1, 1)), (1, 3, 6, 5)),
            ("y", "channel_weights", "a", "", (1, 3)),
        ],
        ["constant", "tap_sums", "conv2d_adjoint", "flatten", "scale"],
    ),
    "mean of a dilated, grouped, uneven adjoint": (
        ["%g = " + tensor(1, 4, 5, 9)],
        {"w": (4, 3, 3, 2)},
        [
            ("a", "conv2d_adjoint", "g w", conv(padding=(1, 0), dilation=(2, 1), groups="2 : i64"), (1, 6, 7, 10)),
            ("y", "channel_weights", "a", "", (1, 6)),
        ],
        ["constant", "tap_sums", "conv2d_adjoint", "flatten", "scale"],
    ),
    "mean of a strided 3x3 adjoint": (
        ["%g = " + tensor(1, 4, 3, 3)],
        {"w": (4, 3, 3, 3)},
        [
            ("a", "conv2d_adjoint", "g w", conv(stride=(2, 2), padding=(1, 1)), (1, 3, 6, 5)),
            ("y", "channel_weights", "a", "", (1, 3)),
        ],
        ["constant", "tap_sums", "conv2d_adjoint", "flatten", "scale"],
    ),
    "mean of a strided, dilated, widely padded adjoint": (
        ["%g = " + tensor(1, 4, 4, 7)],
        {"w": (4, 3, 2, 3)},
        [
            ("a", "conv2d_adjoint", "g w", conv(stride=(3, 2), padding=(2, 5), dilation=(3, 2)), (1, 3, 9, 7)),
            ("y", "channel_weights", "a", "", (1, 3)),
        ],
        ["constant", "tap_sums", "conv2d_adjoint", "flatten", "scale"],
    ),
    "mean of a strided 1x1 adjoint": (
        ["%g = " + tensor(1, 4, 3, 3)],
        {"w": (4, 3, 1, 1)},
        [
            ("a", "conv2d_adjoint", "g w", conv(stride=(2, 2)), (1, 3, 6, 5)),
            ("y", "channel_weights", "a", "", (1, 3)),
        ],
        ["constant", "tap_sums", "conv2d_adjoint", "flatten", "scale"],
    ),
    "mean of a padded 1x1 adjoint": (
        ["%g = " + tensor(1, 4, 8, 7)],
        {"w": (4, 3, 1, 1)},
        [
            ("a", "conv2d_adjoint", "g w", conv(padding=(1, 1)), (1, 3, 6, 5)),
            ("y", "channel_weights", "a", "", (1, 3)),
        ],
        ["constant", "tap_sums", "conv2d_adjoint", "flatten", "scale"],
    ),
    "mean of a 1x1 adjoint": (
        ["%g = " + tensor(1, 4, 6, 5)],
        {"w": (4, 3, 1, 1)},
        [
            ("a", "conv2d_adjoint", "g w", conv(), (1, 3, 6, 5)),
            ("y", "channel_weights", "a", "", (1, 3)),
        ],
        ["constant", "tap_sums", "conv2d_adjoint", "flatten", "scale"],
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
    "XGrad-CAM behind a global pool": (
        ["%g = " + tensor(1, 3, 1, 1), "%x = " + tensor(1, 3, 4, 5)],
        {},
        [
            ("r", "relu", "x", "", (1, 3, 4, 5)),
            ("a", "avg_pool2d_adjoint", "g", avg((4, 5)), (1, 3, 4, 5)),
            ("y", "xgradcam_weights", "a r", "{eps = 1.0e-7 : f64}", (1, 3)),
        ],
        ["flatten", "scale"],
    ),
    "XGrad-CAM with an eps that counts stays": (
        ["%g = " + tensor(1, 3, 1, 1), "%x = " + tensor(1, 3, 4, 5)],
        {},
        [
            ("r", "relu", "x", "", (1, 3, 4, 5)),
            ("a", "avg_pool2d_adjoint", "g", avg((4, 5)), (1, 3, 4, 5)),
            ("y", "xgradcam_weights", "a r", "{eps = 0.1 : f64}", (1, 3)),
        ],
        ["relu", "avg_pool2d_adjoint", "xgradcam_weights"],
    ),
    "XGrad-CAM of signed features stays": (
        ["%g = " + tensor(1, 3, 1, 1), "%x = " + tensor(1, 3, 4, 5)],
        {},
        [
            ("a", "avg_pool2d_adjoint", "g", avg((4, 5)), (1, 3, 4, 5)),
            ("y", "xgradcam_weights", "a x", "{eps = 1.0e-7 : f64}", (1, 3)),
        ],
        ["avg_pool2d_adjoint", "xgradcam_weights"],
    ),
    "LayerCAM behind a global pool": (
        ["%g = " + tensor(1, 3), "%x = " + tensor(1, 3, 4, 5)],
        {},
        [
            ("u", "unflatten", "g", "", (1, 3, 1, 1)),
            ("a", "avg_pool2d_adjoint", "u", avg((4, 5)), (1, 3, 4, 5)),
            ("r", "relu", "a", "", (1, 3, 4, 5)),
            ("y", "weighted_sum", "r x", "", (1, 4, 5)),
        ],
        ["relu", "weighted_sum", "scale"],
    ),
    "positive part behind overlapping windows stays": (
        ["%g = " + tensor(1, 3, 2, 2)],
        {},
        [
            ("a", "avg_pool2d_adjoint", "g", avg((2, 2), (1, 1)), (1, 3, 3, 3)),
            ("y", "relu", "a", "", (1, 3, 3, 3)),
        ],
        ["avg_pool2d_adjoint", "relu"],
    ),
    "positive part of a negative scale stays": (
        ["%g = " + tensor(1, 3)],
        {},
        [("a", "scale", "g", "{factor = -0.5 : f64}", (1, 3)), ("y", "relu", "a", "", (1, 3))],
        ["scale", "relu"],
    ),
    "positive products of positive features": (
        ["%g = " + tensor(1, 3, 4, 5), "%x = " + tensor(1, 3, 8, 10)],
        {},
        [
            ("r", "relu", "x", "", (1, 3, 8, 10)),
            ("p", "max_pool2d", "r", window((2, 2), (2, 2)), (1, 3, 4, 5)),
            ("m", "mul", "g p", "", (1, 3, 4, 5)),
            ("q", "relu", "m", "", (1, 3, 4, 5)),
            ("y", "channel_sum", "q", "", (1, 4, 5)),
        ],
        ["relu", "max_pool2d", "relu", "weighted_sum"],
    ),
    "positive products of signed features stay": (
        ["%g = " + tensor(1, 3, 4, 5), "%x = " + tensor(1, 3, 4, 5)],
        {},
        [
            ("m", "mul", "g x", "", (1, 3, 4, 5)),
            ("q", "relu", "m", "", (1, 3, 4, 5)),
            ("y", "channel_sum", "q", "", (1, 4, 5)),
        ],
        ["mul", "relu", "channel_sum"],
    ),
    "sum of products": (
        ["%g = " + tensor(1, 3, 4, 5), "%x = " + tensor(1, 3, 4, 5)],
        {},
        [("m", "mul", "g x", "", (1, 3, 4, 5)), ("y", "channel_sum", "m", "", (1, 4, 5))],
        ["weighted_sum"],
    ),
    "equal ops are one": (
        ["%g = " + tensor(1, 3, 4, 5), "%x = " + tensor(1, 3, 4, 5)],
        {},
        [
            ("a", "activation_adjoint", "g x", RELU, (1, 3, 4, 5)),
            ("b", "activation_adjoint", "g x", RELU, (1, 3, 4, 5)),
            ("y", "add", "a b", "", (1, 3, 4, 5)),
        ],
        ["activation_adjoint", "add"],
    ),
    "adjoint of a pool of single elements": (
        ["%g = " + tensor(1, 3, 4, 5)],
        {},
        [("y", "avg_pool2d_adjoint", "g", avg((1, 1)), (1, 3, 4, 5))],
        [],
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
    "table of the means of a grouped convolution": (
        [CLS],
        {"w": (3, 12), "v": (12, 2, 3, 2)},
        [
            ("r", "class_row", "w cls", "", (1, 12)),
            ("u", "unflatten", "r", "", (1, 12, 1, 1)),
            ("a", "avg_pool2d_adjoint", "u", avg((5, 7)), (1, 12, 5, 7)),
            ("c", "conv2d_adjoint", "a v", conv(padding=(1, 1), groups="4 : i64"), (1, 8, 5, 6)),
            ("y", "channel_weights", "c", "", (1, 8)),
        ],
        ["constant", "class_row"],
    ),
    "table of a slice": (
        [CLS],
        {"w": (3, 12), "gamma": (6,), "var": (6,)},
        [
            ("r", "class_row", "w cls", "", (1, 12)),
            ("u", "unflatten", "r", "", (1, 12, 1, 1)),
            ("a", "avg_pool2d_adjoint", "u", avg((4, 4)), (1, 12, 4, 4)),
            ("s", "take_channels", "a", "{order = [5, 6, 7, 8, 9, 10]}", (1, 6, 4, 4)),
            ("b", "batch_norm_adjoint", "s gamma var", "{eps = 1.0e-5 : f64}", (1, 6, 4, 4)),
            ("y", "channel_weights", "b", "", (1, 6)),
        ],
        ["constant", "class_row", "scale"],
    ),
    "take of take": (
        ["%g = " + tensor(1, 4, 2, 2)],
        {},
        [
            ("a", "take_channels", "g", "{order = [3, -1, 0]}", (1, 3, 2, 2)),
            ("y", "take_channels", "a", "{order = [2, 1, 0, -1]}", (1, 4, 2, 2)),
        ],
        ["take_channels"],
    ),
    "a shuffle and its adjoint": (
        ["%g = " + tensor(1, 4)],
        {},
        [
            ("a", "take_channels", "g", "{order = [0, 2, 1, 3]}", (1, 4)),
            ("y", "take_channels", "a", "{order = [0, 2, 1, 3]}", (1, 4)),
        ],
        [],
    ),
    "take of a part": (
        ["%g = " + tensor(1, 3, 2, 2), "%h = " + tensor(1, 2, 2, 2)],
        {},
        [
            ("a", "concat", "g h", "", (1, 5, 2, 2)),
            ("y", "take_channels", "a", "{order = [3, 4]}", (1, 2, 2, 2)),
        ],
        [],
    ),
    "take of two parts stays": (
        ["%g = " + tensor(1, 3, 2, 2), "%h = " + tensor(1, 2, 2, 2)],
        {},
        [
            ("a", "concat", "g h", "", (1, 5, 2, 2)),
            ("y", "take_channels", "a", "{order = [2, 3]}", (1, 2, 2, 2)),
        ],
        ["concat", "take_channels"],
    ),
    "gradients of a split": (
        ["%g = " + tensor(1, 2, 2, 2), "%h = " + tensor(1, 3, 2, 2)],
        {},
        [
            ("a", "take_channels", "g", "{order = [0, 1, -1, -1, -1]}", (1, 5, 2, 2)),
            ("b", "take_channels", "h", "{order = [-1, -1, 0, 1, 2]}", (1, 5, 2, 2)),
            ("y", "add", "a b", "", (1, 5, 2, 2)),
        ],
        ["concat"],
    ),
    "gradients that overlap are added": (
        ["%g = " + tensor(1, 2, 2, 2), "%h = " + tensor(1, 2, 2, 2)],
        {},
        [
            ("a", "take_channels", "g", "{order = [0, 1, -1]}", (1, 3, 2, 2)),
            ("b", "take_channels", "h", "{order = [-1, 0, 1]}", (1, 3, 2, 2)),
            ("y", "add", "a b", "", (1, 3, 2, 2)),
        ],
        ["take_channels", "take_channels", "add"],
    ),
    "common scale of parts": (
        ["%g = " + tensor(1, 2), "%h = " + tensor(1, 3)],
        {},
        [
            ("a", "scale", "g", "{factor = 0.5 : f64}", (1, 2)),
            ("b", "scale", "h", "{factor = 0.5 : f64}", (1, 3)),
            ("y", "concat", "a b", "", (1, 5)),
        ],
        ["concat", "scale"],
    ),
    "mean of a slice": (
        ["%g = " + tensor(1, 4, 2, 2)],
        {"w": (4, 6, 3, 3)},
        [
            ("a", "conv2d_adjoint", "g w", conv(padding=(1, 1)), (1, 6, 2, 2)),
            ("b", "take_channels", "a", "{order = [4, 2]}", (1, 2, 2, 2)),
            ("y", "channel_weights", "b", "", (1, 2)),
        ],
        ["constant", "tap_sums", "conv2d_adjoint", "flatten", "take_channels", "scale"],
    ),
    "mean of parts": (
        ["%g = " + tensor(1, 2, 1, 1), "%h = " + tensor(1, 3, 2, 2)],
        {},
        [
            ("a", "avg_pool2d_adjoint", "g", avg((2, 2)), (1, 2, 2, 2)),
            ("b", "concat", "a h", "", (1, 5, 2, 2)),
            ("y", "channel_weights", "b", "", (1, 5)),
        ],
        ["flatten", "scale", "channel_weights", "concat"],
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
