"""Level 3 (linalg on packed integers), run on the CPU, against the integer reference."""

import numpy as np
import pytest
from torch_mlir import ir
from torch_mlir.passmanager import PassManager

from gradcam.errors import GradcamError
from gradcam.jit import compile_affine, compile_linalg, run_affine, run_linalg
from gradcam.passes.linalg.convert_gradcam_to_linalg import ConvertGradcamToLinalg
from gradcam.passes.linalg.fuse_epilogues import FuseEpilogues
from gradcam.passes.linalg.set_platform import SetPlatform
from gradcam.pe import PE
from gradcam.reference.integer import run_integer

PES = ["4x4", "16x16", "16x8", "8x16", "32x32"]


def q(scale, bits=8):
    return f"!quant.uniform<i{bits}:f32, {scale:.6e}>"


def per_channel(scales, bits=8):
    return f"!quant.uniform<i{bits}:f32:0, {{{', '.join(f'{s:.6e}' for s in scales)}}}>"


class Net:
    """Text of a level-2 module with random weights; a feature map is (name, dims, scale, bits)."""

    def __init__(self, image, scale=0.01, seed=0):
        self.rng = np.random.default_rng(seed)
        self.lines = []
        self.image = ("%image", (1, *image), scale, 8)

    def type(self, value):
        _, dims, scale, bits = value
        return f"tensor<{'x'.join(map(str, dims))}x{q(scale, bits)}>"

    def constant(self, array, element):
        name, dims = f"%c{len(self.lines)}", "x".join(map(str, array.shape))
        stored = f"tensor<{dims}xi{array.dtype.itemsize * 8}>"
        self.lines.append(f"{name}_s = arith.constant dense<{array.tolist()}> : {stored}")
        self.lines.append(f"{name} = quant.scast {name}_s : {stored} to tensor<{dims}x{element}>")
        return name, f"tensor<{dims}x{element}>"

    def op(self, name, operands, dims, scale, bits=8, extra=(), **attributes):
        """One op on feature maps and, in `extra`, constants as (name, type)."""
        result = (f"%v{len(self.lines)}", tuple(dims), scale, bits)
        values = [(v[0], self.type(v)) for v in operands] + list(extra)
        text = ", ".join(f"{k} = {v}" for k, v in attributes.items())
        self.lines.append(
            f'{result[0]} = "gradcam.{name}"({", ".join(v for v, _ in values)}) {{{text}}} : '
            f'({", ".join(t for _, t in values)}) -> {self.type(result)} loc("{name}_{len(self.lines)}")'
        )
        return result

    def weights(self, x, shape, scales, bias=3000):
        w = self.rng.integers(-127, 128, shape).astype(np.int8)
        # Magnitudes of every order, so that a large limit leaves some channels in the middle of the range.
        b = (self.rng.choice([-1, 1], shape[0]) * np.exp(self.rng.uniform(0, np.log(bias + 1), shape[0]))).astype(
            np.int32
        )
        if np.ndim(scales) == 0:
            return [self.constant(w, q(scales)), self.constant(b, q(x[2] * scales, 32))]
        return [self.constant(w, per_channel(scales)), self.constant(b, per_channel(x[2] * scales, 32))]

    def conv(self, x, out, kernel, scale, bits=8, stride=(1, 1), padding=(0, 0), dilation=(1, 1), bias=3000):
        _, (_, c, *size), _, _ = x
        windows = zip(size, kernel, stride, padding, dilation, strict=True)
        dims = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in windows]
        constants = self.weights(x, (out, c, *kernel), self.rng.uniform(0.001, 0.004, out), bias)
        window = {"stride": list(stride), "padding": list(padding), "dilation": list(dilation)}
        segments = "array<i32: 1, 1, 1>"
        return self.op(
            "conv2d",
            [x],
            (1, out, *dims),
            scale,
            bits,
            constants,
            operandSegmentSizes=segments,
            groups="1 : i64",
            **window,
        )

    def linear(self, x, out, scale=None):
        """With a scale, per-channel weights and an int8 result; without, a classifier."""
        scales = 0.002 if scale is None else self.rng.uniform(0.001, 0.004, out)
        constants = self.weights(x, (out, x[1][1]), scales)
        result, bits = (x[2] * 0.002, 32) if scale is None else (scale, 8)
        y = self.op("linear", [x], (1, out), result, bits, constants, operandSegmentSizes="array<i32: 1, 1, 1>")
        return y, constants[0]

    def same(self, name, x, **attributes):
        return self.op(name, [x], x[1], x[2], x[3], **attributes)

    def pool(self, name, x, kernel, stride, padding, dims, scale, **attributes):
        window = {"kernel": list(kernel), "stride": list(stride), "padding": list(padding), "dilation": [1, 1]}
        return self.op(name, [x], (1, x[1][1], *dims), scale, **window, **attributes)

    def average(self, x, scale):
        return self.pool("avg_pool2d", x, x[1][2:], (1, 1), (0, 0), (1, 1), scale, count_include_pad="true")

    def flatten(self, x):
        return self.op("flatten", [x], (1, int(np.prod(x[1]))), x[2])

    def explain(self, logits, w, a):
        """Class row, weighted sum and scale; returns the map."""
        types = f"({self.type(logits)}, tensor<1xi32>) -> tensor<1xi32>"
        self.lines.append(f'%cls = "gradcam.select_class"({logits[0]}, %class) : {types}')
        row = self.op("class_row", [], (1, a[1][1]), 0.002, 8, [w, ("%cls", "tensor<1xi32>")])
        raw = self.op("weighted_sum", [row, a], (1, *a[1][2:]), 0.002 * a[2], 32)
        return self.op("scale", [raw], raw[1], raw[2] * 0.05, 32, factor="5.0e-02 : f64")

    def text(self, *results):
        types = ", ".join(map(self.type, results))
        body = "\n  ".join(self.lines)
        return (
            f"func.func @main(%image: {self.type(self.image)}, %class: tensor<1xi32>) -> ({types}) {{\n  {body}\n"
            f"  return {', '.join(r[0] for r in results)} : {types}\n}}"
        )


def residual_net():
    net = Net((5, 9, 7))
    x = net.same("relu", net.conv(net.image, 20, (3, 3), 0.05, stride=(2, 2), padding=(1, 1)))
    short = net.conv(x, 20, (1, 1), 0.1)
    y = net.conv(x, 20, (3, 3), 0.12, 32, padding=(1, 1))
    a = net.same("relu", net.op("add", [y, short], y[1], 0.12))
    logits, w = net.linear(net.flatten(net.average(a, 0.04)), 10)
    return net.text(logits, net.explain(logits, w, a))


def pooled_net():
    net = Net((3, 17, 13), seed=1)
    x = net.conv(net.image, 7, (5, 3), 0.05, stride=(2, 1), padding=(2, 0), dilation=(1, 2))
    x = net.pool("max_pool2d", x, (3, 3), (2, 2), (1, 1), (5, 5), x[2])
    x = net.same("clamp", net.conv(x, 9, (2, 2), 0.1), lo="-1.5 : f64", hi="6.0 : f64")
    x = net.pool("avg_pool2d", x, (3, 2), (1, 2), (1, 1), (4, 3), 0.05, count_include_pad="true")
    hidden, _ = net.linear(net.flatten(x), 11, 0.01)
    logits, _ = net.linear(net.same("relu", hidden), 6)
    return net.text(logits)


def extreme_net():
    """Accumulators over the whole 32-bit range; a residual so small that its shift exceeds 31 bits."""
    net = Net((2, 6, 5), scale=0.0001, seed=2)
    x = net.conv(net.image, 33, (1, 1), 4e-5, bias=(1 << 31) - 128 * 127 * 2 - 1)
    tiny = net.conv(net.image, 33, (1, 1), 1e-10, bias=0)
    z = net.op("add", [x, tiny], x[1], 4e-5)
    logits, w = net.linear(net.flatten(net.average(z, 2e-5)), 17)
    return net.text(logits, net.explain(logits, w, z))


NETS = {"residual": residual_net, "pooled": pooled_net, "extreme": extreme_net}


pytestmark = pytest.mark.usefixtures("context")


def image_of(module):
    shape = ir.RankedTensorType(module.body.operations[0].arguments[0].type).shape
    return np.random.default_rng(3).integers(-128, 128, shape).astype(np.int8)


def lower(module, pe, fuse=True):
    SetPlatform(pe).run(module)
    ConvertGradcamToLinalg().run(module)
    if fuse:
        FuseEpilogues().run(module)
        PassManager.parse("builtin.module(canonicalize,cse)").run(module.operation)
    assert module.operation.verify()
    return module


def simulate(module, image, cls=-1):
    execute = compile_linalg(module, optimize=0)  # compiling is what takes time here
    return execute(image[0].transpose(1, 2, 0), np.array([cls], np.int32))


def assert_equal(got, wanted):
    for g, w in zip(got, [w for w in wanted if w is not None], strict=True):
        np.testing.assert_array_equal(g, w[0])


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("pe", PES)
def test_equals_the_integer_reference(name, pe):
    module = ir.Module.parse(NETS[name]())
    image = image_of(module)
    wanted = run_integer(module, image)
    assert all(len(np.unique(w)) > 3 for w in wanted if w is not None), "a comparison of constants would prove nothing"
    assert_equal(simulate(lower(module, pe), image), wanted)


def test_every_class_can_be_asked_for():
    module = ir.Module.parse(residual_net())
    image = image_of(module)
    wanted = [run_integer(module, image, cls) for cls in range(10)]
    lower(module, "4x8")
    for cls in range(10):
        assert_equal(simulate(module, image, cls), wanted[cls])
    assert len({w[1].tobytes() for w in wanted}) == 10


def test_unfused_ops_mean_the_same():
    module = ir.Module.parse(residual_net())
    image = image_of(module)
    wanted = run_integer(module, image)
    assert_equal(simulate(lower(module, "4x4", fuse=False), image), wanted)


@pytest.mark.parametrize("name", NETS)
def test_one_changed_weight_is_caught(name):
    text = NETS[name]()
    module, changed = ir.Module.parse(text), ir.Module.parse(text)
    image = image_of(module)
    wanted = run_integer(module, image)
    classifier = [op for op in changed.body.operations[0].entry_block.operations if op.name == "arith.constant"][-2]
    weights = np.array(classifier.attributes["value"])
    weights[1, 0] ^= 1
    classifier.attributes["value"] = ir.DenseElementsAttr.get(weights)
    with pytest.raises(AssertionError):
        assert_equal(simulate(lower(changed, "4x4"), image), wanted)


def generics(module):
    found = []

    def collect(op):
        if op.name == "linalg.generic":
            found.append(op)
        return ir.WalkResult.ADVANCE

    module.operation.walk(collect)
    return found


def test_epilogues_fuse_with_each_other_and_stay_out_of_reductions():
    apart = lower(ir.Module.parse(residual_net()), "4x4", fuse=False)
    fused = lower(ir.Module.parse(residual_net()), "4x4")
    after = generics(fused)
    # relu joins conv1; add and relu join the later of the two convolutions, the earlier one stores its int8 result.
    assert len(generics(apart)) - len(after) == 3
    reductions = [op for op in after if len(ir.ArrayAttr(op.attributes["iterator_types"])) == 8]
    assert len(reductions) == 5
    for op in reductions:
        assert [o.name for o in op.regions[0].blocks[0].operations] == [
            *["arith.extsi"] * 2,
            "arith.muli",
            "arith.extsi",
            "arith.addi",
            "linalg.yield",
        ]


def test_a_value_read_twice_is_not_recomputed():
    net = Net((4, 5, 5))
    x = net.conv(net.image, 4, (1, 1), 0.05)
    z = net.op("add", [net.same("relu", x), x], x[1], 0.1)
    logits, _ = net.linear(net.flatten(z), 3)
    module = ir.Module.parse(net.text(logits))
    image = image_of(module)
    wanted = run_integer(module, image)
    lower(module, "4x4")
    assert len(generics(module)) == 4  # conv, its epilogue with relu and add, linear, its bias
    assert_equal(simulate(module, image), wanted)


def test_running_leaves_the_module_alone():
    module = lower(ir.Module.parse(residual_net()), "4x4")
    before = str(module)
    run_linalg(module, np.zeros((9, 7, 5), np.int8), np.array([-1], np.int32))
    assert str(module) == before


WINDOW = {"kernel": [1, 1], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}


@pytest.mark.parametrize(
    ("name", "dims", "attributes", "message"),
    [
        ("channel_sum", (1, 5, 5), {}, "'gradcam.channel_sum' has no lowering to linalg"),
        ("max_pool2d", (1, 4, 5, 5), WINDOW, "equal element types"),
    ],
)
def test_what_has_no_lowering_is_refused_with_its_place(name, dims, attributes, message):
    net = Net((4, 5, 5))
    y = net.op(name, [net.image], dims, 0.5, **attributes)
    with pytest.raises(GradcamError, match=message) as error:
        ConvertGradcamToLinalg().run(ir.Module.parse(net.text(y)))
    assert f"{name}_0" in str(error.value.location)


def test_float_modules_are_refused():
    text = """func.func @main(%x: tensor<1x4x5x5xf32>) -> tensor<1x4x5x5xf32> {
      %y = "gradcam.relu"(%x) : (tensor<1x4x5x5xf32>) -> tensor<1x4x5x5xf32>
      return %y : tensor<1x4x5x5xf32> }"""
    with pytest.raises(GradcamError, match="quantized image"):
        ConvertGradcamToLinalg().run(ir.Module.parse(text))


@pytest.mark.parametrize("text", ["16", "16x", "x16", "12x16", "0x4", "16x16x16", "-4x4", " 4x4"])
def test_pe_is_validated(text):
    with pytest.raises(GradcamError, match="pe "):
        PE.parse(text)


def test_pe_lanes():
    pe = PE.parse("16x8")
    assert (pe.oc, pe.ic, pe.lanes, str(pe)) == (16, 8, 16, "16x8")
    assert [pe.padded(n) for n in (1, 16, 17)] == [16, 16, 32]


AFFINE = """
memref.global "private" constant @m : memref<4xi16> = dense<[3, 5, 7, 32767]>
func.func @main(%x: memref<8x4xi8>, %w: memref<4x4xi8>, %y: memref<8x4xi32>) {
  %m = memref.get_global @m : memref<4xi16>
  %acc = memref.alloc() : memref<4xi32>
  %s = arith.constant 2 : i48
  affine.for %r = 0 to 8 {
    affine.parallel (%o) = (0) to (4) {
      %sum = affine.parallel (%i) = (0) to (4) reduce ("addi") -> i32 {
        %a = affine.load %x[%r, %i] : memref<8x4xi8>
        %b = affine.load %w[%o, %i] : memref<4x4xi8>
        %c = arith.extsi %a : i8 to i32
        %d = arith.extsi %b : i8 to i32
        %p = arith.muli %c, %d : i32
        affine.yield %p : i32
      }
      affine.store %sum, %acc[%o] : memref<4xi32>
    }
    affine.for %o = 0 to 4 {
      %sum = affine.load %acc[%o] : memref<4xi32>
      %mo = affine.load %m[%o] : memref<4xi16>
      %a = arith.extsi %sum : i32 to i48
      %b = arith.extsi %mo : i16 to i48
      %p = arith.muli %a, %b : i48
      %q = arith.shrsi %p, %s : i48
      %t = arith.trunci %q : i48 to i32
      affine.store %t, %y[%r, %o] : memref<8x4xi32>
    }
  }
  return
}
"""


def test_affine_runs():
    rng = np.random.default_rng(4)
    x, w = (rng.integers(-128, 128, s).astype(np.int8) for s in ((8, 4), (4, 4)))
    module = ir.Module.parse(AFFINE)
    before = str(module)
    (y,) = run_affine(module, x, w)
    np.testing.assert_array_equal(y, (x.astype(np.int64) @ w.T * [3, 5, 7, 32767]) >> 2)
    assert str(module) == before


def test_inputs_are_checked():
    execute = compile_affine(ir.Module.parse(AFFINE), 2)
    good = np.zeros((8, 4), np.int8)
    with pytest.raises(GradcamError, match="has 2 inputs, got 1"):
        execute(good)
    with pytest.raises(GradcamError, match=r"input 1 must be int8 \(4, 4\), got int8 \(8, 4\)"):
        execute(good, good)
    with pytest.raises(GradcamError, match="no function @main"):
        run_linalg(ir.Module.parse("func.func @other() { return }"))
