"""Level-1 modules as text, for tests that must not depend on the front end."""

import numpy as np


def dense(values):
    """`arith.constant` text of an array, exact."""
    values = np.ascontiguousarray(values)
    element = {"float32": "f32", "int8": "i8", "int32": "i32"}[str(values.dtype)]
    shape = "x".join(map(str, values.shape))
    return f'arith.constant dense<"0x{values.tobytes().hex().upper()}"> : tensor<{shape}x{element}>'


class Network:
    """Appends ops to the text of a module; values are (name, shape) pairs."""

    def __init__(self, shape, seed=0):
        self.rng = np.random.default_rng(seed)
        self.shape, self.lines, self.count = shape, [], 0
        self.image = ("%image", shape)

    def _append(self, text, result_shape=None):
        self.count += 1
        name = f"%v{self.count}"
        self.lines.append(f"  {name} = {text}")
        return (name, result_shape)

    def constant(self, values):
        return self._append(dense(values), values.shape)

    def op(self, name, operands, result_shape, attributes="", path=None, result=None):
        types = ", ".join(type_text(s) for _, s in operands)
        names = ", ".join(n for n, _ in operands)
        location = f' loc("{path or f"{name}_{self.count}"}")'
        text = (
            f'"gradcam.{name}"({names}) {{{attributes}}} : ({types}) -> {result or type_text(result_shape)}{location}'
        )
        return self._append(text, result_shape)

    def conv(self, x, channels, kernel=3, stride=1, padding=1, bias=True, gain=1.0, weight=None, groups=1, path=None):
        _, c, h, w = x[1]
        if weight is None:
            fan_in = c // groups * kernel * kernel
            weight = self.rng.normal(0, gain * np.sqrt(2 / fan_in), (channels, c // groups, kernel, kernel))
        operands = [x, self.constant(np.asarray(weight, np.float32))]
        if bias is not False:
            values = self.rng.normal(0, 0.1, channels) if bias is True else bias
            operands.append(self.constant(np.asarray(values, np.float32)))
        out = [(n + 2 * padding - kernel) // stride + 1 for n in (h, w)]
        attributes = (
            f"stride = [{stride}, {stride}], padding = [{padding}, {padding}], dilation = [1, 1], groups = {groups}, "
            f"operandSegmentSizes = array<i32: 1, 1, {len(operands) - 2}>"
        )
        return self.op("conv2d", operands, (1, channels, *out), attributes, path)

    def linear(self, x, features, weight=None, path=None):
        if weight is None:
            weight = self.rng.normal(0, np.sqrt(1 / x[1][1]), (features, x[1][1]))
        self.weight = self.constant(np.asarray(weight, np.float32))
        bias = self.constant(self.rng.normal(0, 0.1, features).astype(np.float32))
        segments = "operandSegmentSizes = array<i32: 1, 1, 1>"
        return self.op("linear", [x, self.weight, bias], (1, features), segments, path)

    def relu(self, x, path=None):
        return self.op("relu", [x], x[1], path=path)

    def clamp(self, x, lo, hi):
        return self.op("clamp", [x], x[1], f"lo = {lo:e} : f64, hi = {hi:e} : f64")

    def add(self, x, y, path=None):
        return self.op("add", [x, y], x[1], path=path)

    def pool(self, kind, x, kernel, stride, padding=0, include=True, path=None):
        out = tuple((n + 2 * padding - k) // stride + 1 for n, k in zip(x[1][2:], kernel, strict=True))
        counts = f", count_include_pad = {str(include).lower()}" if kind == "avg" else ""
        attributes = (
            f"kernel = [{kernel[0]}, {kernel[1]}], stride = [{stride}, {stride}], padding = [{padding}, {padding}], "
            f"dilation = [1, 1]{counts}"
        )
        return self.op(f"{kind}_pool2d", [x], (*x[1][:2], *out), attributes, path)

    def flatten(self, x):
        return self.op("flatten", [x], (1, int(np.prod(x[1]))))

    def head(self, a, classes):
        """Global average pool and classifier on `a`, and the simplified Grad-CAM of it."""
        _, _, h, w = a[1]
        logits = self.linear(self.flatten(self.pool("avg", a, (h, w), 1, path="avgpool")), classes, path="fc")
        cls = self.op("select_class", [logits, ("%class", "tensor<1xi32>")], None, result="tensor<1xi32>")
        cls = (cls[0], "tensor<1xi32>")
        row = self.op("class_row", [self.weight, cls], (1, a[1][1]))
        map_ = self.op("weighted_sum", [row, a], (1, h, w))
        map_ = self.op("scale", [map_], (1, h, w), f"factor = {1 / (h * w):.17e} : f64")
        return logits, map_

    def module(self, *results, attributes='{gradcam.explain = {target = "layer4"}}'):
        types = ", ".join(type_text(s) for _, s in results)
        argument = f"%image: {type_text(self.shape)}" + (", %class: tensor<1xi32>" if len(results) > 1 else "")
        names = ", ".join(n for n, _ in results)
        head = f"func.func @main({argument}) -> ({types}) attributes {attributes} {{"
        return "\n".join([head, *self.lines, f"  return {names} : {types}", "}"])


def type_text(shape):
    return shape if isinstance(shape, str) else f"tensor<{'x'.join(map(str, shape))}xf32>"


def block(net, x, channels, stride, path):
    """A residual block as in ResNet, batch norms folded."""
    y = net.relu(net.conv(x, channels, stride=stride, path=f"{path}.conv1"))
    y = net.conv(y, channels, gain=0.5, path=f"{path}.conv2")
    if stride != 1 or x[1][1] != channels:
        x = net.conv(x, channels, 1, stride, 0, path=f"{path}.downsample.0")
    return net.relu(net.add(y, x, path=path), path=path)


def small_resnet(side=12, widths=(8, 16), classes=5, seed=0):
    """Text of a residual network with max pool and simplified Grad-CAM."""
    net = Network((1, 3, side, side), seed)
    x = net.relu(net.conv(net.image, widths[0], path="conv1"))
    x = net.pool("max", x, (3, 3), 2, 1)
    for i, channels in enumerate(widths):
        x = block(net, x, channels, 1 if i == 0 else 2, f"layer{i + 1}.0")
        x = block(net, x, channels, 1, f"layer{i + 1}.1")
    return net.module(*net.head(x, classes))
