"""Kernel taps in space: a word that is read once meets the weights of several taps, and the sums of outputs slide.

Where a reduction walks

    sum[y, x] += data[..., stride * (x + tap) + ..., lane] * weights[..., tap, lane]

and a word of weights holds all taps, the datum does not depend on the tap but on x + tap alone. The change of variables
x = u + (taps - 1 - tap) reads it once for all taps: at position u, lane (tap, lane) adds to the sum of output x, which
moves on to the next tap at position u + 1, and is complete at u = x, behind the last tap. So do two data, of which a
tap chooses one by its number. The positions before output 0
only fill the sums, and those that would read nothing but padding are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch_mlir import ir

from gradcam.passes.ir.linear_form import Linear, plus
from gradcam.passes.schedule.plain_nest import PlainNest, Touch


@dataclass(frozen=True)
class Sliding:
    """A reduction loop that becomes space, and the output loop along which the sums slide.

    Attributes:
        tap: the reduction loop.
        taps: its trip count.
        along: the innermost output loop.
        first: the output at the first position; not positive.
        positions: the trip count of the loop over positions.
    """

    tap: ir.Value
    taps: int
    along: ir.Value
    first: int
    positions: int

    def place(self, position: ir.Value) -> Linear:
        """The output that is complete at a position."""
        return plus({position: 1}, {None: self.first})

    def guards(self, position: ir.Value) -> list[Linear]:
        """The forms that are at least 0 where an output is complete."""
        return [self.place(position)] if self.first else []


def find_sliding(nest: PlainNest, lane: ir.Value | None) -> Sliding | None:
    """The taps that lie side by side in a word of a nest's operand, where another operand is read once for all."""
    touches = [t for t in nest.loads.values() if nest.accumulated(t) is None]
    if lane is None or len(nest.stores) != 1 or len(touches) < 2:
        return None
    outer = [iv for iv in nest.ivs if iv not in nest.reduces and iv != lane]
    words = [t for t in touches if len(t.forms) > 1 and t.forms[-1] == {lane: 1}]
    for word in words:
        data = [t for t in touches if t is not word]
        tap = next((iv for iv in nest.reduces if word.forms[-2] == {iv: 1}), None)
        if tap is not None and outer and not word.guards and all(_moves_with(t, tap, outer[-1]) for t in data):
            first = min(_first(nest, t, tap, outer[-1]) for t in data)
            return Sliding(tap, nest.trip(tap), outer[-1], first, nest.trip(outer[-1]) - first)
    return None


def _moves_with(data: Touch, tap: ir.Value, along: ir.Value) -> bool:
    """Whether the data depend on `tap` just as on `along`."""
    forms = [*data.forms, *data.guards]
    return any(tap in f for f in forms) and all(f.get(tap, 0) == f.get(along, 0) for f in forms)


def _first(nest: PlainNest, data: Touch, tap: ir.Value, along: ir.Value) -> int:
    """The first position, not before 1 - taps, at which anything but padding may be read."""

    def most(guard: Linear, position: int) -> int:
        rest = (max(0, c * (nest.trip(t) - 1)) for t, c in guard.items() if t is not None and t not in (tap, along))
        return guard.get(None, 0) + guard.get(along, 0) * (position + nest.trip(tap) - 1) + sum(rest)

    before = range(1 - nest.trip(tap), 0)
    return next((p for p in before if all(most(guard, p) >= 0 for guard in data.guards)), 0)
