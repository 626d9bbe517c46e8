"""The products of a datapath: multiplexed factors, wide products from two multipliers, two products from one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcam.passes.hw.dsp import find_pairing, high_product, low_product, multiplier_of, multiply_both
from gradcam.passes.hw.sharing import Multiplier
from gradcam.passes.hw.value import Value
from gradcam.passes.program.clock import FACTOR, unextended
from gradcam.passes.program.engines import latency_of
from gradcam.passes.program.nest import Node

if TYPE_CHECKING:
    from gradcam.passes.hw.datapath import Datapath


class Products:
    """Builds the products of a datapath; factors are values of its lanes."""

    def __init__(self, path: Datapath) -> None:
        """Takes the datapath."""
        self.path, self.b = path, path.b
        #: The products of multiplier modules, by their factors.
        self._made: dict[tuple[Value, Value], Value] = {}

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
        """A product as the sum of two partial products, one per part of the wider factor.

        The parts have FACTOR - 1 low bits and the rest.
        """
        b, (factor, value) = self.b, self.factors(node, point, stage)
        half, needed = FACTOR - 1, value.width
        if needed <= FACTOR:  # the constants of all configurations are narrower than their type
            return self.path.delay(self._multiply(value, factor).sign_extend(node.bits), 1, "muli")
        parts = value[:half].zero_extend(FACTOR), value[half:needed]
        low, high = (self._multiply(part, factor).sign_extend(node.bits) for part in parts)
        shifted = b.concat([high[: node.bits - half], b.const(0, half)])
        return self.path.delay(low + shifted, 1, "muli")

    def local(self, node: Node, point: tuple[int, ...], stage: int) -> Value:
        """A product of two factors that fit one multiplier."""
        return self._multiply(*self.factors(node, point, stage)).sign_extend(node.bits)

    def packed(self, node: Node, point: tuple[int, ...], stage: int) -> Value | None:
        """A product that shares one multiplication with the neighbouring lane's product.

        None where the two lanes share no factor, the lane has no neighbour, or configurations differ in factors.
        """
        path = self.path
        multiplier = path.multipliers.get(id(node))
        pairing = find_pairing(node, path.unpaired_dims, path.bits_of)
        if pairing is None or (multiplier and multiplier.selects_factors(path.shapes.number)):
            return None
        dim = pairing.dim
        low, high = ((*point[:dim], lane, *point[dim + 1 :]) for lane in (point[dim] & ~1, point[dim] | 1))
        if high[dim] >= path.extent(node, dim):
            return None
        lanes = (path.signed(pairing.own, lane, stage) for lane in (low, high))
        both = multiply_both(self.b, path.signed(pairing.shared, low, stage), *lanes, field=node.bits)
        # The register follows the multiplication, so that both lanes share it.
        both = path.delay(both, latency_of(node.op, node.kind), "products")
        return (low_product(both) if point == low else high_product(both)).sign_extend(node.bits)

    def _multiply(self, left: Value, right: Value) -> Value:
        """The product of two signed values, two stages later.

        The factors are registered at each multiplier, for they may come over long wires and feed several multipliers.
        """
        path, b = self.path, self.b
        if path.enable is not None:
            wide = left.width + right.width
            both = [path.delay(v.sign_extend(wide), 1, "factor") for v in (left, right)]
            return path.delay(both[0] * both[1], 1, "muli")
        if (left, right) not in self._made:
            name = f"multiplier{len(self._made)}"
            made = b.instance(multiplier_of(b, left.width, right.width), name, {"a": left, "b": right})
            self._made[left, right] = made["product"]
        return self._made[left, right]
