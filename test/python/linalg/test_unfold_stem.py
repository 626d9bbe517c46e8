"""Unfolding an image and convolving what comes out gives the integers of the convolution alone."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from stem_text import DENSE, STEMS, Stem, image, stem_text
from torch_mlir import ir

from gradcam.dialect import make_context
from gradcam.dialect.verify import ints, shape
from gradcam.execution import float32
from gradcam.execution.interpreter import run
from gradcam.passes.ir.attributes import PLATFORM, STEM
from gradcam.passes.linalg import unfold_stem
from gradcam.passes.linalg.set_platform import SetPlatform
from gradcam.passes.linalg.unfold_stem import UnfoldStem
from gradcam.reference import integer

pytestmark = pytest.mark.usefixtures("context")


def ops_of(module, name):
    return [o for o in module.body.operations[0].entry_block.operations if o.operation.name == f"gradcam.{name}"]


def unfolded(text, pe):
    module = ir.Module.parse(text)
    SetPlatform(pe=pe).run(module)
    UnfoldStem().run(module)
    del module.operation.attributes[PLATFORM.key]
    assert module.operation.verify()
    return module


@pytest.fixture
def with_gaps(monkeypatch):
    """No steps that are saved are worth the memory of words without gaps."""
    monkeypatch.setattr(unfold_stem, "WORTH", 0)


def pairs(low, high):
    return st.tuples(*[st.integers(low, high)] * 2)


# The op.


@pytest.mark.parametrize("kernels", [integer.KERNELS, float32.KERNELS], ids=["integer", "float32"])
@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 5), pairs(1, 4), pairs(1, 3), pairs(0, 3), pairs(0, 4), pairs(1, 3), pairs(1, 9), st.integers(0, 8)
)
def test_unfold2d_is_the_unfold_of_pytorch(kernels, channels, kernel, stride, low, high, dilation, size, taken):
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    padded = [a + n + b for a, n, b in zip(low, size, high, strict=True)]
    assume(all(n >= r for n, r in zip(padded, reach, strict=True)))
    out = [(n - r) // s + 1 for n, r, s in zip(padded, reach, stride, strict=True)]
    taps, filled = kernel[0] * kernel[1], {1: 1, 2: 2, 3: 4, 4: 4, 5: 8}[channels]
    assume(taken <= filled)
    filled = taken or filled
    window = {"kernel": kernel, "stride": stride, "low": low, "high": high, "dilation": dilation}
    attributes = ", ".join(f"{n} = {list(v)}" for n, v in window.items()) + f", taken = {taken}" * bool(taken)
    x, y = f"tensor<1x{channels}x{size[0]}x{size[1]}xf32>", f"tensor<1x{taps * filled}x{out[0]}x{out[1]}xf32>"
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(
            f'func.func @main(%x: {x}) -> {y} {{ %y = "gradcam.unfold2d"(%x) {{{attributes}}} : ({x}) -> {y}\n'
            f"return %y : {y} }}"
        )
        pixels = np.random.default_rng(0).integers(1, 100, (1, channels, *size)).astype(np.float32)
        (got,) = run(module, [pixels], kernels)
    around = torch.nn.functional.pad(torch.from_numpy(pixels), (low[1], high[1], low[0], high[0]))
    columns = torch.nn.functional.unfold(around, kernel, dilation, 0, stride).reshape(channels, taps, *out)
    got = got.reshape(taps, filled, *out)
    np.testing.assert_array_equal(got[:, :channels], columns.numpy().swapaxes(0, 1)[:, :filled])
    assert not got[:, channels:].any()


# The pass.


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    pairs(1, 5),
    pairs(1, 3),
    pairs(0, 3),
    pairs(1, 3),
    pairs(4, 12),
    st.sampled_from(["4x4", "4x8", "16x16", "4x32", "4x64"]),
)
def test_every_convolution_keeps_its_integers(channels, kernel, stride, padding, dilation, size, pe):
    stem = Stem(channels, kernel, stride, padding, dilation, size, out=3)
    assume(all(n > 0 for n in stem.out_size))
    with make_context(), ir.Location.unknown():
        text = stem_text(stem)
        module = unfolded(text, pe)
        kernel_steps = [int(np.prod(shape(op.w)[2:])) for op in ops_of(module, "conv2d")]
        assert kernel_steps[0] < np.prod(kernel) if ops_of(module, "unfold2d") else kernel_steps[0] == np.prod(kernel)
        before, after = (run(m, [image(stem)], integer.KERNELS)[0] for m in (ir.Module.parse(text), module))
    np.testing.assert_array_equal(after, before)


@pytest.mark.usefixtures("with_gaps")
@pytest.mark.parametrize(("stem", "pe", "taps", "left"), STEMS)
def test_what_becomes_of_a_kernel(stem, pe, taps, left):
    module = unfolded(stem_text(stem), pe)
    (unfold,), (conv,) = ops_of(module, "unfold2d"), ops_of(module, "conv2d")
    assert tuple(ints(unfold, "kernel", 2, 1)) == taps
    assert tuple(shape(conv.w)[2:]) == left
    before, after = (run(m, [image(stem)], integer.KERNELS)[0] for m in (ir.Module.parse(stem_text(stem)), module))
    np.testing.assert_array_equal(after, before)
    assert len(np.unique(before)) > 20, "the comparison is about real values"


@pytest.mark.parametrize(("stem", "pe", "values"), DENSE)
def test_all_taps_of_a_window_stand_side_by_side(stem, pe, values):
    module = unfolded(stem_text(stem), pe)
    (conv,) = ops_of(module, "conv2d")
    assert shape(conv.w) == [stem.out, values, 1, 1]
    assert STEM.get(module.operation) == list(stem.kernel)
    before, after = (run(m, [image(stem)], integer.KERNELS)[0] for m in (ir.Module.parse(stem_text(stem)), module))
    np.testing.assert_array_equal(after, before)
    assert len(np.unique(before)) > 20, "the comparison is about real values"


@pytest.mark.parametrize("pe", ["8x16", "16x16"])
def test_gaps_are_closed_where_the_array_has_the_lanes_of_a_row(pe):
    """A copy stores the 9 values of a row of a window in one step."""
    module = unfolded(stem_text(DENSE[0][0]), pe)
    (conv,) = ops_of(module, "conv2d")
    assert (shape(conv.w)[2:] == [1, 1]) == (pe == "16x16")


@pytest.mark.usefixtures("with_gaps")
@pytest.mark.parametrize(
    ("stem", "pe"),
    [
        (Stem(3, (3, 3)), "16x4"),  # two taps do not fit
        (Stem(3, (1, 1)), "16x16"),  # there is one tap
        (Stem(2, (1, 3), (1, 2), (0, 2), (1, 2)), "16x16"),  # windows that are strided and dilated
        (Stem(3, (3, 1), (1, 1), (2, 0), (3, 1)), "16x16"),  # the load would take more than the convolution saves
    ],
)
def test_what_saves_nothing_stays(stem, pe):
    module = unfolded(stem_text(stem), pe)
    assert STEM.get(module.operation) == [1, 1]
    del module.operation.attributes[STEM.key]
    assert str(module) == str(ir.Module.parse(stem_text(stem)))


def test_convolutions_with_one_window_share_the_image():
    stems = [Stem(3, (3, 3), padding=(1, 1), out=n) for n in (4, 20)]
    module = unfolded(stem_text(*stems), "16x16")
    *_, unfold = ops_of(module, "unfold2d")
    assert all(conv.x == unfold.y for conv in ops_of(module, "conv2d"))
    before = run(ir.Module.parse(stem_text(*stems)), [image(stems[0])], integer.KERNELS)
    for a, b in zip(run(module, [image(stems[0])], integer.KERNELS), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_image_with_other_readers_stays():
    text = stem_text(Stem(3, (3, 3)), Stem(3, (5, 5)))
    assert str(unfolded(text, "16x16")) == str(ir.Module.parse(text))


def test_a_weight_moved_to_the_wrong_tap_is_caught():
    stem = STEMS[0][0]
    module = unfolded(stem_text(stem), "16x16")
    (before,) = run(module, [image(stem)], integer.KERNELS)
    source = ops_of(module, "conv2d")[0].w.owner.operands[0].owner
    rolled = np.roll(np.array(source.attributes["value"]), 4, axis=1)
    source.attributes["value"] = ir.DenseElementsAttr.get(rolled, type=source.results[0].type)
    assert not np.array_equal(run(module, [image(stem)], integer.KERNELS)[0], before)
