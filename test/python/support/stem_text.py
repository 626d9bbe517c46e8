"""Writes modules of quantized convolutions that read the image, and lists some with their arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Stem(NamedTuple):
    """A convolution of an image; pairs are for height and width."""

    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    size: tuple[int, int] = (9, 10)
    out: int = 5

    @property
    def out_size(self) -> list[int]:
        axes = zip(self.size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]


#: With the array, and what becomes of the kernel: taps in the channels, and positions that are left.
STEMS = [
    (Stem(3, (3, 3), (1, 1), (1, 1)), "8x16", (1, 3), (3, 1)),
    (Stem(3, (3, 3), (2, 2), (1, 1), out=20), "4x16", (1, 3), (3, 1)),
    (Stem(1, (3, 3), (1, 1), (1, 1), out=20), "4x16", (3, 3), (1, 1)),
    (Stem(3, (7, 7), (2, 2), (3, 3), size=(14, 14), out=20), "16x16", (1, 4), (7, 2)),
    (Stem(3, (7, 7), (2, 2), (3, 3), size=(14, 14)), "16x16", (2, 2), (4, 4)),
    (Stem(3, (7, 7), (2, 2), (3, 3), size=(14, 16)), "16x32", (4, 2), (2, 4)),
    (Stem(1, (5, 4), (2, 3), (2, 1), size=(12, 13), out=20), "4x8", (2, 4), (3, 1)),
    (Stem(2, (3, 3), (1, 2), (2, 2), (2, 2), out=20), "8x4", (2, 1), (2, 3)),
    (Stem(3, (11, 11), (4, 4), (2, 2), size=(23, 27)), "16x64", (4, 4), (3, 3)),
    (Stem(2, (4, 4), (4, 4), size=(18, 19)), "4x32", (4, 4), (1, 1)),
    (Stem(3, (3, 1), (1, 1), (2, 0), (3, 1), out=33), "16x16", (3, 1), (1, 1)),
]

#: With the array and the channels of the unfolded image: all taps of a window stand side by side in them.
DENSE = [
    (Stem(3, (3, 3), (1, 1), (1, 1)), "16x16", 27),
    (Stem(3, (7, 7), (2, 2), (3, 3), size=(14, 16), out=40), "32x32", 147),
    (Stem(1, (5, 5), (2, 2), (2, 2), size=(12, 12), out=9), "8x8", 25),
    (Stem(1, (5, 7), (1, 2), (1, 3), (2, 1), size=(11, 13), out=20), "8x8", 35),
    (Stem(5, (1, 3), (1, 1), (0, 0), size=(3, 9), out=40), "16x16", 15),
]


def stem_text(stem: Stem, *others: Stem, seed: int = 0) -> str:
    """`@main` returns what each of the convolutions, all of the first one's image, makes of it."""
    rng = np.random.default_rng(seed)
    x = f"tensor<1x{stem.channels}x{stem.size[0]}x{stem.size[1]}x!quant.uniform<i8:f32, 0.5>>"
    lines, types = [], []
    for i, conv in enumerate((stem, *others)):
        shape = (conv.out, stem.channels, *conv.kernel)
        stored = f"tensor<{'x'.join(map(str, shape))}xi8>"
        w = stored.replace("xi8>", f"x!quant.uniform<i8:f32:0, {{{numbers(rng.uniform(0.05, 0.2, conv.out))}}}>>")
        y = f"tensor<1x{conv.out}x{conv.out_size[0]}x{conv.out_size[1]}x!quant.uniform<i8:f32, 16.0>>"
        window = {n: list(getattr(conv, n)) for n in ("stride", "padding", "dilation")}
        attributes = ", ".join(f"{n} = {v}" for n, v in window.items()) + ", groups = 1 : i64"
        lines += [
            f"%c{i} = arith.constant dense<{rng.integers(-127, 128, shape).tolist()}> : {stored}",
            f'%w{i} = "quant.scast"(%c{i}) : ({stored}) -> {w}',
            f'%y{i} = "gradcam.conv2d"(%x, %w{i}) {{operandSegmentSizes = array<i32: 1, 1, 0>, {attributes}}} : '
            f'({x}, {w}) -> {y} loc("conv{i}")',
        ]
        types.append(y)
    results = ", ".join(f"%y{i}" for i in range(len(types)))
    body = "\n  ".join([*lines, f"return {results} : {', '.join(types)}"])
    return f"func.func @main(%x: {x}) -> ({', '.join(types)}) {{\n  {body}\n}}"


def numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{v:.6e}" for v in values)


def image(stem: Stem, seed: int = 1) -> np.ndarray:
    """int8, 1 x C x H x W."""
    return np.random.default_rng(seed).integers(-128, 128, (1, stem.channels, *stem.size)).astype(np.int8)
