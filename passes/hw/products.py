"""The products of a datapath: multiplexed factors, wide products from two multipliers, two products from one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from gradcam.bits import fits_slice
from gradcam.passes.hw.carries import late_sum
from gradcam.passes.hw.dot import Dot
from gradcam.passes.hw.dsp import Pairing, find_pairing, high_product, low_product, multiplier_of, multiply_both
from gradcam.passes.hw.sharing import Multiplier
from gradcam.passes.hw.value import Value
from gradcam.passes.program.cascades import cascade_latency
from gradcam.passes.program.clock import FACTOR, Clock, unextended
from gradcam.passes.program.engines import latency_of, stage_of
from gradcam.passes.program.nest import Node

if TYPE_CHECKING:
    from gradcam.passes.hw.datapath import Datapath


class _Either(NamedTuple):
    """The factors of a sum's products, of which one comes from one of two ports.

    Attributes:
        left: the other factor of each product.
        right: from each of both ports, that factor of each product.
        second: i1: it is that from the second port.
    """

    left: list[Value]
    right: list[list[Value]]
    second: Value


class Products:
    """Builds the products of a datapath; factors are values of its lanes."""

    def __init__(self, path: Datapath) -> None:
        """Takes the datapath."""
        self.path, self.b = path, path.b
        #: Bits of the wider factor of a DSP slice.
        self._wide = Clock.of(path.engine.configurations[0].op).factor
        #: The products of multiplier modules, by their factors.
        self._made: dict[tuple[Value, Value], Value] = {}
        #: The sums of cascades, by the factors of all of their products.
        self._dots: dict[tuple[Value, ...], list[Value]] = {}

    def factors(self, node: Node, point: tuple[int, ...], stage: int) -> list[Value]:
        """The factors of a product before sign extension, for the configuration whose step is in `stage`.

        The narrower factor comes first. Each is as wide as the widest factor, at its place, of the configurations that
        share the multiplier. Constants count with the bits that their values need.
        """
        path = self.path
        multiplier = path.multipliers.get(id(node), Multiplier({0: node}))
        ordered = {r: sorted(n.args, key=self._bits) for r, n in multiplier.products.items()}
        factors = []
        for place in range(2):
            options: dict[Value, list[int]] = {}
            for configuration, pair in ordered.items():
                factor = pair[place]
                if unextended(factor).kind == "acc":
                    factor = multiplier.totals.get(unextended(factor).what, factor)
                value = path.signed(factor, point, stage)
                if unextended(factor).kind == "const":
                    value = value[: self._bits(factor)]
                options.setdefault(value, []).append(configuration)
            width = max(value.width for value in options)
            values = [value.sign_extend(width) for value in options]
            factors.append(path.select(values, list(options.values()), stage))
        return factors

    def _bits(self, factor: Node) -> int:
        """Bits that a factor needs without its extension."""
        return self.path.shapes.bits_needed(unextended(factor))

    def wide(self, node: Node, point: tuple[int, ...], stage: int) -> Value:
        """A product as the sum of two partial products, one per part of the wider factor."""
        path, b, (factor, value) = self.path, self.b, self.factors(node, point, stage)
        half, needed, stages = Clock.of(node.op).part(node), value.width, latency_of(node.op, node.kind) - 4
        if needed <= half + 1:  # the constants of all configurations are narrower than their type
            return path.delay(self._multiply(value, factor).sign_extend(node.bits), stages, "muli")
        parts = value[:half].zero_extend(half + 1), value[half:needed]
        low, high = (self._multiply(part, factor).sign_extend(node.bits) for part in parts)
        if stages == 1:
            upper = low[half:] + high[: node.bits - half]
            return path.delay(b.concat([upper, low[:half]]), stages, "muli")
        upper = late_sum(b, low[half:], high[: node.bits - half], "muli", stages, enable=path.enable)
        return path.delay(b.concat([upper, path.delay(low[:half], stages - 1, "muli")]), 1, "muli")

    def local(self, node: Node, point: tuple[int, ...], stage: int) -> Value:
        """A product of two factors that fit one multiplier, whose left factor may be wider than the other."""
        left, right = self.factors(node, point, stage)
        left, right = (right, left) if right.width > FACTOR else (left, right)
        return self._multiply(left, right).sign_extend(node.bits)

    def packed(self, node: Node, point: tuple[int, ...], stage: int) -> Value | None:
        """A product that shares one multiplication with the neighbouring lane's product.

        None where the two lanes share no factor, the lane has no neighbour, or configurations differ in factors.
        """
        pairing = self._pairing(node, point)
        if pairing is None:
            return None
        both = multiply_both(self.b, *self._paired(pairing, point, stage), field=node.bits)
        # The register follows the multiplication, so that both lanes share it.
        both = self.path.delay(both, latency_of(node.op, node.kind), "products")
        return (high_product(both) if point[pairing.dim] & 1 else low_product(both)).sign_extend(node.bits)

    def _pairing(self, node: Node, point: tuple[int, ...]) -> Pairing | None:
        """How a product shares a multiplication with that of the neighbouring lane; None as `packed` says."""
        path = self.path
        multiplier = path.multipliers.get(id(node))
        pairing = find_pairing(node, path.unpaired_dims, path.bits_of, self._wide) if path.dsp_packing else None
        if pairing is None or (multiplier and multiplier.selects_factors(path.shapes.number)):
            return None
        return pairing if point[pairing.dim] | 1 < path.extent(node, pairing.dim) else None

    def _paired(self, pairing: Pairing, point: tuple[int, ...], stage: int) -> list[Value]:
        """The factor that a lane shares with its neighbour, and those of the lower and of the upper one."""
        path, dim = self.path, pairing.dim
        low, high = ((*point[:dim], lane, *point[dim + 1 :]) for lane in (point[dim] & ~1, point[dim] | 1))
        lanes = (pairing.shared, low), (pairing.own, low), (pairing.own, high)
        return [path.signed(factor, lane, stage) for factor, lane in lanes]

    def sums(self, total: Node, points: Sequence[tuple[int, ...]], length: int) -> list[Value]:
        """The sums of `length` products each, by cascades of DSP slices, that make up a lane sum.

        Args:
            total: the lane sum.
            points: the lanes of its products.
            length: see `gradcam.passes.program.cascades`.
        """
        product = unextended(total.args[0])
        groups = (points[i : i + length] for i in range(0, len(points), length))
        return [self._sum(product, group).sign_extend(total.bits) for group in groups]

    def _sum(self, node: Node, points: Sequence[tuple[int, ...]]) -> Value:
        """The sum of a product's lanes `points`, as many cycles later as a cascade of all of them takes.

        Where two such sums share factors and one slice cannot hold both, shorter cascades compute their parts.
        """
        path, length, pairing = self.path, len(points), self._pairing(node, points[0])
        if pairing is not None:
            own, shared = (path.bits_of(factor).signed for factor in (pairing.own, pairing.shared))
            while not fits_slice(_sum_bits(node.bits, length), own, shared, self._wide):
                length //= 2
        parts = [self._cascade(node, points[i : i + length], pairing) for i in range(0, len(points), length)]
        ready = cascade_latency(length)
        while len(parts) > 1:
            wide = [part.sign_extend(part.width + 1) for part in parts]
            parts = [path.delay(a + b, 1, "part") for a, b in zip(wide[::2], wide[1::2], strict=True)]
            ready += 1
        return path.delay(parts[0], cascade_latency(len(points)) - ready, "sum")

    def _cascade(self, node: Node, points: Sequence[tuple[int, ...]], pairing: Pairing | None) -> Value:
        """The sum of a product's lanes `points` from one cascade."""
        path, b, stage = self.path, self.b, stage_of(node.op)
        chosen = None if pairing else self._either(node, points, stage)
        if chosen is None:
            lanes = (self._paired(pairing, p, stage) if pairing else self.factors(node, p, stage) for p in points)
            left, *right = map(list, zip(*lanes, strict=True))
        else:
            left, right = chosen.left, chosen.right
        wide = left[0].width, right[0][0].width
        bits = _sum_bits(min(node.bits, sum(wide)), len(points))
        dot = Dot(len(points), *wide, bits, len(right) if pairing else 1, 1 if pairing else len(right))
        inputs = {"a": left, **{f"b{i}": values for i, values in enumerate(right)}}
        if chosen is not None:
            inputs["second"] = [chosen.second]
        key = tuple(b.concat(values[::-1]) for values in inputs.values())
        if key not in self._dots:
            ce = b.const(1, 1) if path.enable is None else path.enable
            made = b.instance(dot.module(b), f"dot{len(self._dots)}", {"ce": ce, **dict(zip(inputs, key, strict=True))})
            self._dots[key] = [made[f"sum{i}"] for i in range(dot.sums)]
        return self._dots[key][points[0][pairing.dim] & 1 if pairing else 0]

    def _either(self, node: Node, points: Sequence[tuple[int, ...]], stage: int) -> _Either | None:
        """The factors of a product's lanes `points` where one of the two comes from one of two ports.

        Of two such factors it is that which differs in more lanes. None where no factor is such.
        """
        path = self.path
        for place in sorted(range(2), key=lambda n: len(path.dims(node.args[n])), reverse=True):
            found = [path.either(node.args[place], point, stage) for point in points]
            flags = {flag for flag, _ in filter(None, found)}
            if len(flags) == 1 and None not in found:
                left = [path.signed(node.args[1 - place], point, stage) for point in points]
                right = [list(values) for values in zip(*(v for _, v in filter(None, found)), strict=True)]
                return _Either(left, right, flags.pop()) if left[0].width <= FACTOR else None
        return None

    def _multiply(self, left: Value, right: Value) -> Value:
        """The product of two signed values, four stages later.

        A factor may feed several multipliers, over long wires: it is registered once, and again at each of them.
        """
        path, b = self.path, self.b
        left, right = (path.delay(v, 1, "factor") for v in (left, right))
        if path.enable is not None:
            wide = left.width + right.width
            both = [path.delay(v.sign_extend(wide), 1, "factor") for v in (left, right)]
            return path.delay(both[0] * both[1], 2, "muli")
        if (left, right) not in self._made:
            name = f"multiplier{len(self._made)}"
            made = b.instance(multiplier_of(b, left.width, right.width), name, {"a": left, "b": right})
            self._made[left, right] = made["product"]
        return self._made[left, right]


def _sum_bits(product: int, terms: int) -> int:
    """Bits of the sum of several products of `product` bits, with a sign."""
    return product + (terms - 1).bit_length()
