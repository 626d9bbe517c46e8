"""What a backward pass through convolutions needs below linalg: one array for a convolution, its transpose and products
of run-time values, slices put together in place, masks of one bit, and sums over the taps of a kernel."""

import shutil
from itertools import product

import numpy as np
import pytest
from linalg_text import Text, schedule, write_design

import gradcam.program_file
from gradcam.jit import run_affine, run_linalg
from gradcam.passes.ir.explanations import map_names
from gradcam.sim import Simulator
from gradcam.sim.trace import Tensor, compare_buffers

SIZE, KERNEL, CHANNELS = 6, 3, 8
MULTIPLY_ADD = """
  %_x = arith.extsi %0 : i8 to i16
  %_w = arith.extsi %1 : i8 to i16
  %_p = arith.muli %_x, %_w : i16
  %_e = arith.extsi %_p : i16 to i32
  %_n = arith.addi %2, %_e : i32
  linalg.yield %_n : i32"""
SATURATE = """
  %_s = arith.constant 7 : i32
  %_lo = arith.constant -128 : i32
  %_hi = arith.constant 127 : i32
  %_r = arith.shrsi %0, %_s : i32
  %_m = arith.maxsi %_r, %_lo : i32
  %_c = arith.minsi %_m, %_hi : i32
  %_q = arith.trunci %_c : i32 to i8"""
ADD = "\n  %_n = arith.addi %2, %0 : i32\n  linalg.yield %_n : i32"
WIDEN_ADD = "\n  %_e = arith.extsi %0 : i8 to i32" + ADD.replace("%0", "%_e")
PIXELS = "h, w, c"
THIRDS = np.arange(CHANNELS) % 3 == 0


def saturated(total):
    return np.clip(total >> 7, -128, 127).astype(np.int8)


# The program. The weights are constant; feature maps have the size of the image.


def forward(t, weights, oc, ic):
    """A padded convolution of the image: saturated sums, and where they are positive, two results of one epilogue."""
    acc = t.generic(
        "conv",
        [t.pad("bordered", "%image", [1, 1, 0], [1, 1, 0]), weights],
        [t.zeros(SIZE, SIZE, CHANNELS)],
        "t h w u! a! b! o i!",
        f"h + a, w + b, u * {ic} + i; t, u, a, b, o, i; h, w, t * {oc} + o",
        MULTIPLY_ADD,
    )
    mask = "\n  %_k = arith.cmpi sgt, %0, %zero32 : i32\n  linalg.yield %_q, %_k : i8, i1"
    outs = [t.empty(bits, SIZE, SIZE, CHANNELS) for bits in (8, 1)]
    return t.generic("y", [acc], outs, "h w c", f"{PIXELS}; {PIXELS}; {PIXELS}", SATURATE + mask), "%y2"


def transposed(t, y, mask, weights, oc, ic):
    """The same weights with input and output lanes swapped, its sums masked."""
    acc = t.generic(
        "back",
        [t.pad("y_bordered", y, [1, 1, 0], [1, 1, 0]), weights],
        [t.zeros(SIZE, SIZE, CHANNELS)],
        "u h w t! a! b! i o!",
        f"h + 2 - a, w + 2 - b, t * {oc} + o; t, u, a, b, o, i; h, w, u * {ic} + i",
        MULTIPLY_ADD,
    )
    select = "\n  %_z = arith.select %1, %_q, %zero8 : i8\n  linalg.yield %_z : i8"
    outs = [t.empty(8, SIZE, SIZE, CHANNELS)]
    return t.generic("grad", [acc, mask], outs, "h w c", f"{PIXELS}; {PIXELS}; {PIXELS}", SATURATE + select)


def upsampled(t, weights, oc, ic):
    """A transposed convolution of stride 2: outputs (2h + p, 2w + q) see the taps of one parity in either direction."""
    half, tiles = SIZE // 2, (CHANNELS // oc, CHANNELS // ic)
    small = t.cut("small", "%image", [0, 0, 0], [half, half, CHANNELS], [2, 2, 1])
    whole = t.empty(8, SIZE, SIZE, CHANNELS)
    for p, q in product(range(2), range(2)):
        n = f"{p}{q}"
        taps = t.cut(
            f"taps{n}", weights, [0, 0, 1 - p, 1 - q, 0, 0], [*tiles, p + 1, q + 1, oc, ic], [1, 1, 2, 2, 1, 1]
        )
        acc = t.generic(
            f"part{n}",
            [t.pad(f"small{n}", small, [0, 0, 0], [p, q, 0]) if p + q else small, taps],
            [t.zeros(half, half, CHANNELS)],
            "u h w t! a! b! i o!",
            f"h + {p} - a, w + {q} - b, t * {oc} + o; t, u, a, b, o, i; h, w, u * {ic} + i",
            MULTIPLY_ADD,
        )
        outs = [t.empty(8, half, half, CHANNELS)]
        body = SATURATE + "\n  linalg.yield %_q : i8"
        part = t.generic(f"up{n}", [acc], outs, "h w c", f"{PIXELS}; {PIXELS}", body, at="up")
        whole = t.paste(f"whole{n}", part, whole, [p, q, 0], [2, 2, 1])
    return whole


def weighted(t, x, w, oc, ic):
    """Sums of the channels of `x` with run-time weights `w`, a map or (1 x 1 x C) a vector; every lane has the sum."""
    (height, width, _), _ = t.shape(x)
    at = f"h, w, u * {ic} + i"
    acc = t.zeros(height, width, oc)
    sizes = t.empty(8, CHANNELS // ic, ic)
    return t.generic(
        f"sum{len(t.types)}",
        [x, w, sizes],
        [acc],
        "h w u! o i!",
        f"{at}; {at if t.shape(w)[0][0] > 1 else at.replace('h, w', '0, 0')}; u, i; h, w, o",
        MULTIPLY_ADD.replace("%2", "%3"),
    )


def rows(t, y, oc, ic):
    """The weighted sum of the even and of the odd rows, each stored in place without an epilogue."""
    vector = t.cut("vector", y, [2, 3, 0], [1, 1, CHANNELS])
    whole = t.filled(5, 32, SIZE, SIZE, oc)
    for p in range(2):
        x = t.cut(f"rows{p}", "%image", [p, 0, 0], [SIZE // 2, SIZE, CHANNELS], [2, 1, 1])
        whole = t.paste(f"sums{p}", weighted(t, x, vector, oc, ic), whole, [p, 0, 0], [2, 1, 1])
    return whole


def taps(t, oc):
    """Per tap of a padded 3x3 kernel the sum of the pixels under it: first over rows, then over columns."""
    tiles = CHANNELS // oc
    first = t.generic(
        "columns",
        [t.pad("above", "%image", [1, 0, 0], [1, 0, 0]), t.empty(8, tiles, SIZE, oc)],
        [t.zeros(KERNEL, SIZE, CHANNELS)],
        "t a w h! l",
        f"h + a, w, t * {oc} + l; t, h, l; a, w, t * {oc} + l",
        WIDEN_ADD,
    )
    return t.generic(
        "taps",
        [t.pad("beside", first, [0, 1, 0], [0, 1, 0]), t.empty(8, tiles, SIZE, oc)],
        [t.zeros(KERNEL, KERNEL, CHANNELS)],
        "t a b w! l",
        f"a, w + b, t * {oc} + l; t, w, l; a, b, t * {oc} + l",
        ADD,
    )


def choices(t, y):
    """Larger and smaller elements, by a mask that is stored: two nests read it."""
    three = "; ".join([PIXELS] * 3)
    larger = "\n  %_k = arith.cmpi sgt, %0, %1 : i8\n  linalg.yield %_k : i1"
    mask = t.generic("larger", ["%image", y], [t.empty(1, SIZE, SIZE, CHANNELS)], "h w c", three, larger)
    select = "\n  %_z = arith.select %2, %0, %1 : i8\n  linalg.yield %_z : i8"
    pairs = {"most": ("%image", y), "least": (y, "%image")}
    outs = [t.empty(8, SIZE, SIZE, CHANNELS)]
    return [t.generic(n, [*pair, mask], outs, "h w c", f"{three}; {PIXELS}", select) for n, pair in pairs.items()]


def holes(t):
    """A tensor of -3 with the image's pixels of odd rows and even columns, every third channel inverted."""
    half = SIZE // 2
    x = t.cut("odd", "%image", [1, 0, 0], [half, half, CHANNELS], [2, 2, 1])
    body = """
  %_ones = arith.constant -1 : i8
  %_i = arith.xori %0, %_ones : i8
  %_z = arith.select %1, %_i, %0 : i8
  linalg.yield %_z : i8"""
    ins, outs = [x, t.constant("thirds", THIRDS)], [t.empty(8, half, half, CHANNELS)]
    part = t.generic("inverse", ins, outs, "h w c", f"{PIXELS}; c; {PIXELS}", body, at="holes")
    return t.paste("holes", part, t.filled(-3, 8, SIZE, SIZE, CHANNELS), [1, 0, 0], [2, 2, 1])


def program(weights, oc, ic):
    """weights: int8, (out, in, row, column)."""
    tiles = weights.reshape(CHANNELS // oc, oc, CHANNELS // ic, ic, KERNEL, KERNEL).transpose(0, 2, 4, 5, 1, 3)
    t = Text((SIZE, SIZE, CHANNELS))
    packed = t.constant("weights", tiles)
    y, mask = forward(t, packed, oc, ic)
    grad = transposed(t, y, mask, packed, oc, ic)
    lanes = [(rows(t, y, oc, ic), 0), (weighted(t, y, grad, oc, ic), oc - 1)]
    sums = [t.cut(f"cam{i}", x, [0, 0, lane], [SIZE, SIZE, 1]) for i, (x, lane) in enumerate(lanes)]
    results = [sums[0], grad, upsampled(t, packed, oc, ic), sums[1], taps(t, oc), *choices(t, y), holes(t)]
    return t.module(*results)


# The same with NumPy, as sums over outputs and taps.


def expected(image, weights):
    """image: int8, SIZE x SIZE x CHANNELS. Returns the results and, by name, tensors behind them as 1 x C x H x W."""
    x, w = image.astype(np.int64), weights.astype(np.int64)
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    acc, back, up, taps = (np.zeros((n, n, CHANNELS), np.int64) for n in (SIZE, SIZE + 2, SIZE + 2, KERNEL))
    for a, b in product(range(KERNEL), range(KERNEL)):
        window = padded[a : a + SIZE, b : b + SIZE]
        acc += window @ w[:, :, a, b].T
        taps[a, b] = window.sum((0, 1))
    y, mask = saturated(acc), acc > 0
    for a, b in product(range(KERNEL), range(KERNEL)):
        back[a : a + SIZE, b : b + SIZE] += y.astype(np.int64) @ w[:, :, a, b]
        up[a : a + SIZE : 2, b : b + SIZE : 2] += x[::2, ::2] @ w[:, :, a, b]
    grad = np.where(mask, saturated(back[1:-1, 1:-1]), 0).astype(np.int8)
    wide_y = y.astype(np.int64)
    holes = np.full_like(image, -3)
    holes[1::2, ::2] = np.where(THIRDS, ~image[1::2, ::2], image[1::2, ::2])
    results = [
        (x @ wide_y[2, 3])[..., None],
        grad,
        saturated(up[1:-1, 1:-1]),
        (wide_y * grad).sum(2, keepdims=True),
        taps,
        np.maximum(image, y),
        np.minimum(image, y),
        holes,
    ]
    named = {"y": y, "grad": grad, "up": results[2], "holes": holes, "larger": image > y}
    tensors = [Tensor(n, v.transpose(2, 0, 1)[None]) for n, v in [("y", mask), *named.items()]]
    return results, tensors


def weights_of(seed):
    return np.random.default_rng(seed).integers(-127, 128, (CHANNELS, CHANNELS, KERNEL, KERNEL)).astype(np.int8)


def images_of(seed, count=2):
    return np.random.default_rng(seed).integers(-128, 128, (count, SIZE, SIZE, CHANNELS)).astype(np.int8)


def agree(got, wanted):
    return [g.shape == w.shape and bool((g == w).all()) for g, w in zip(got, wanted, strict=True)]


@pytest.fixture(scope="module", autouse=True)
def any_interface():
    """Results of linalg are no maps of a network: they have no scale and no class."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradcam.program_file, "_check_interfaces", lambda _: None)
        yield


@pytest.fixture(scope="module")
def square(tmp_path_factory):
    """The program on a square array; tests copy the folder before they change it."""
    folder = tmp_path_factory.mktemp("transposed") / "design"
    return folder, write_design(schedule(program(weights_of(1), 4, 4), "4x4"), "4x4", folder)


def outputs(result):
    return [result.outputs[n] for n in ("logits", *map_names(len(result.outputs) - 1))]


def simulate(folder, images, **options):
    return Simulator(folder, verify=False).run(images.transpose(0, 3, 1, 2), **options)


def check_rtl(folder, design, weights):
    images = images_of(2)
    results = simulate(folder, images, buffers=True)
    lengths = [nest.end - nest.start for nest in design.nests]
    for image, result in zip(images, results, strict=True):
        wanted, tensors = expected(image, weights)
        assert all(agree(outputs(result), wanted))
        assert result.nest_cycles == lengths
        trace = compare_buffers(Simulator(folder).program, result.buffers, tensors)
        assert trace.difference is None
        assert sorted(trace.compared) == ["grad", "holes", "larger", "up", "y", "y"]


def test_rtl_on_a_square_array(square):
    check_rtl(*square, weights_of(1))


def test_rtl_on_an_oblong_array(tmp_path):
    weights, folder = weights_of(3), tmp_path / "design"
    design = write_design(schedule(program(weights, 8, 4), "8x4"), "8x4", folder)
    check_rtl(folder, design, weights)
    assert {nest.engine for nest in design.nests if nest.engine.startswith("mac")} == {"mac", "mac2"}


def test_one_array_and_one_copy_of_the_weights(square):
    folder, design = square
    products = [nest for nest in design.nests if nest.engine.startswith("mac")]
    assert {nest.engine for nest in products} == {"mac"}
    assert len(products) == 9
    assert (folder / "rtl" / "engine_mac.sv").read_text().count(" * ") == 16
    constants = {name: bank for name, bank in design.banks.items() if bank.constant}
    assert sorted(constants) == ["constants", "weights"]
    assert constants["weights"].words * constants["weights"].lanes == weights_of(1).size


def test_a_changed_weight_is_caught(square, tmp_path):
    folder, _ = square
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "mem" / "weights.hex"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([f"{int(first, 16) ^ 0x40:0{len(first)}x}", *rest]) + "\n")
    images = images_of(2)
    for image, result in zip(images, simulate(copy, images, buffers=True), strict=True):
        wanted, tensors = expected(image, weights_of(1))
        found = agree(outputs(result), wanted)
        assert not any(found[1:4])
        assert all(found[i] for i in (4, 7))
        assert compare_buffers(Simulator(copy, verify=False).program, result.buffers, tensors).difference is not None


@pytest.mark.parametrize(("oc", "ic"), [(4, 4), (8, 4), (2, 8), (4, 1), (1, 4)])
def test_linalg_and_schedule(oc, ic):
    weights, (image, _) = weights_of(oc), images_of(4)
    module = program(weights, oc, ic)
    wanted, _ = expected(image, weights)
    assert all(agree(run_linalg(module, image), wanted))
    module = schedule(module, f"{oc}x{ic}")
    assert all(agree(run_affine(module, image), wanted))
    assert not all(agree(run_affine(module, image), expected(image, weights_of(0))[0]))
