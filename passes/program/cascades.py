"""Lane sums of products that cascades of DSP slices add up, where the FPGA family has these."""

from __future__ import annotations

from math import gcd, prod

from gradcam.passes.program.clock import Clock, unextended
from gradcam.passes.program.nest import Dataflow


def cascade_latency(terms: int) -> int:
    """Cycles from the factors to the sum of a cascade of `terms` slices.

    A slice has a register for its factors, one for its product and one for its sum; the sum goes on to the next slice.
    """
    return terms + 2


def cascades_of(body: Dataflow, clock: Clock) -> dict[int, int]:
    """The products of a cascade, by id of each lane sum that cascades add up, and by id of the products in it.

    A sum with more terms takes several cascades of equal length. Products that something else reads, too, are none of a
    cascade, which has only their sum; nor are those that are too wide for one slice.
    """
    found: dict[int, int] = {}
    for total in (n for n in body.nodes if n.kind == "reduce"):
        (term,), product = total.args, unextended(total.args[0])
        length = gcd(prod(body.extents[d] for d in total.reduced), clock.cascade)
        readers = [n for n in body.nodes if any(a in (term, product) for a in n.args) and n not in (total, term)]
        fits = product.kind == "arith.muli" and not clock.is_wide(product) and not readers
        if length > 1 and fits and all(s.value not in (term, product) for s in body.sinks):
            found |= {id(total): length, id(product): length}
    return found
