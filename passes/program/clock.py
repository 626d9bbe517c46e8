"""The clock and the FPGA family that a design is scheduled for: delays of ops, cascades of DSP slices.

Without a clock, delays do not count, and `gradcam.passes.schedule.stages` registers products, shifts and lane sums
only. With a clock, ops share a stage as long as their delays fit into its period.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradcam.bits import WIDE
from gradcam.errors import GradcamError
from gradcam.passes.ir.platform import Platform
from gradcam.passes.program.block_ram import BlockRam
from gradcam.passes.program.nest import Node


@dataclass(frozen=True)
class Delays:
    """Delays of a family in ns, the shapes of its block RAMs, and what its DSP slices can do.

    Delays contain the routing to the next op, and are rounded up from the reports of the family's tools.

    Attributes:
        register: clock-to-output of one register and setup of the next one.
        logic: a level of logic.
        carry, bit: an addition or comparison takes `carry`, and `bit` more for each of its bits.
        shift: a shift by an amount that depends on the configuration.
        multiply: a product between the registers of a DSP slice, these included.
        factor: bits of a slice's wider signed factor, in which two weights may stand side by side.
        single: bits of the wider signed factor of a product that one slice computes.
        block: its block RAMs.
        cascade: the products that a cascade of DSP slices adds up, 1 without cascades. Slice i needs its factors i
            cycles late. A slice has registers for two cycles itself; a third register in front of it would be a shift
            register, which takes a LUT per bit. A 16-term sum of int8 products took 393 LUTs as a tree of adders; as
            cascades of 4, 8 and 16 with adders behind them 63, 155 and 204 (Yosys 0.70).
        cell: at least so much for each cell of an addition, which are a LUT and a carry cell per `CARRY` bits. No free
            tool routes for these families; a path of 6 cells fits 300 MHz on UltraScale+, and one of 9 cells 200 MHz on
            7 series.
    """

    register: float
    logic: float
    carry: float
    bit: float
    shift: float
    multiply: float
    factor: int
    single: int
    block: BlockRam
    cascade: int = 1
    cell: float = 0.0

    def sum(self, bits: int) -> float:
        """Delay of a sum."""
        return max(self.carry + self.bit * bits, self.cell * (1 + bits / CARRY))


#: Bits of the widest signed factor on the narrower side of one multiplier.
FACTOR = 18

#: Bits of a carry cell of UltraScale+ and 7 series, as Yosys maps sums.
CARRY = 4

#: Bits of a word of a block RAM of 18 Kbit, by its words: that of ECP5, and half of that of UltraScale+ and 7 series.
_EIGHTEEN_KBIT = {512: 36, 1024: 18, 2048: 9, 4096: 4, 8192: 2, 16384: 1}

#: The block RAMs of UltraScale+ and 7 series: halves, and whole ones where these hold more than two halves.
_THIRTY_SIX_KBIT = BlockRam(
    (
        *((words, bits, 0.5) for words, bits in _EIGHTEEN_KBIT.items()),
        *((words, bits, 1) for words, bits in {4096: 9, 8192: 4, 16384: 2, 32768: 1}.items()),
    ),
    few=64,
    luts=400,
)

DELAYS: Mapping[str, Delays] = {
    "ecp5": Delays(
        register=2.0,
        logic=1.2,
        carry=2.0,
        bit=0.04,
        shift=4.0,
        multiply=3.9,
        factor=WIDE,  # as two slices of 18 bits together take
        single=FACTOR,
        block=BlockRam(tuple((words, bits, 1) for words, bits in _EIGHTEEN_KBIT.items()), few=32, luts=400),
    ),
    "xcup": Delays(
        register=0.7,
        logic=0.5,
        carry=0.9,
        bit=0.012,
        shift=1.8,
        multiply=2.0,
        factor=WIDE,
        single=WIDE,
        block=_THIRTY_SIX_KBIT,
        cascade=4,
        cell=0.438,
    ),
    # From the arcs of these cells in Yosys's models (xilinx/cells_sim.v, from prjxray), with as much again for routing.
    "xc7": Delays(
        register=1.0,
        logic=0.8,
        carry=1.4,
        bit=0.03,
        shift=3.0,
        multiply=3.9,
        factor=25,
        single=25,
        block=_THIRTY_SIX_KBIT,
        cascade=4,
        cell=0.438,
    ),
}

#: Sums.
SUM = ("arith.addi", "arith.subi")

EXTREME = ("arith.maxsi", "arith.minsi", "arith.maxui", "arith.minui")

#: Extensions of an integer, by its sign or by zeros.
EXTENSION = ("arith.extsi", "arith.extui")

#: Shifts.
SHIFT = ("arith.shrsi", "arith.shrui", "arith.shli")
_LOGIC = ("arith.select", "arith.andi", "arith.ori", "arith.xori")

#: Cycles from the inputs of an op to its result without a clock; 0 means combinational within the stage.
LATENCY = {"load": 1, "arith.muli": 1, "arith.shrsi": 1, "arith.shrui": 1, "reduce": 1, "table": 1}


@dataclass(frozen=True)
class Clock:
    """The clock of a design, which limits the ops of a stage.

    Attributes:
        family: the figures of the family; None for any.
        period: the period of the clock in ns; infinite without one.
    """

    family: Delays | None = None
    period: float = math.inf

    @property
    def delays(self) -> Delays | None:
        """The delays of the family; None without a clock."""
        return self.family if math.isfinite(self.period) else None

    @property
    def cascade(self) -> int:
        """See `Delays`; that of the family also without a clock."""
        return self.family.cascade if self.family else 1

    @property
    def factor(self) -> int:
        """See `Delays`; that of the family also without a clock."""
        return self.family.factor if self.family else WIDE

    @classmethod
    def of(cls, op: Any) -> Clock:
        """The clock of the platform of the module around an op."""
        return cls.on(Platform.of(op))

    @classmethod
    def on(cls, platform: Platform) -> Clock:
        """The clock of a platform; without a family, that of a design for any.

        Raises:
            GradcamError: see `named`.
        """
        return cls() if platform.family is None else cls.named(platform.family, platform.mhz)

    @classmethod
    def named(cls, family: str, mhz: float | None) -> Clock:
        """A clock of `mhz` on a family; of None, a design for the family without a clock.

        Raises:
            GradcamError: there is no such family, or it cannot reach this frequency.
        """
        if family not in DELAYS:
            raise GradcamError(f"there is no family '{family}'; choose one of {', '.join(DELAYS)}")
        delays = DELAYS[family]
        if mhz is None:
            return cls(delays)
        if not mhz > 0:
            raise GradcamError(f"a clock must be above 0 MHz, got {mhz:g}")
        # A piece of a sum has at least one bit, and one for the carry at either end.
        slowest = max(delays.register + max(delays.shift, delays.sum(3)), delays.multiply)
        if 1000 / mhz < slowest:
            raise GradcamError(f"{mhz:g} MHz is too fast for {family}; choose at most {1000 // slowest:g}")
        return cls(delays, 1000 / mhz)

    @property
    def budget(self) -> float:
        """Delay of the ops that fit between two registers."""
        return self.period - self.delays.register if self.delays else math.inf

    @property
    def crossing(self) -> int:
        """The crossing latency: cycles from one of sequencer, engines and banks to another; 1 with a clock, else 0."""
        return int(self.delays is not None)

    @property
    def issue(self) -> int:
        """Cycles from the issue of a nest to its first step."""
        return 1 + self.command

    @property
    def command(self) -> int:
        """The command latency: cycles from the sequencer into an engine; with a clock there is a register in either."""
        return 2 * self.crossing

    @property
    def address(self) -> int:
        """The earliest stage of a memory read; with a clock the address is registered in the engine and behind it."""
        return 2 * self.crossing

    @property
    def read(self) -> int:
        """Cycles of a memory read; with a clock the word is registered behind the memory and in the engine, too."""
        return 1 + 2 * self.crossing

    @property
    def placing(self) -> int:
        """Cycles from a run-time term to the address that it picks in DRAM; with a clock, of a product and a sum."""
        return 5 * self.crossing

    @property
    def lane(self) -> float:
        """Delay from a word that was read to one of its lanes, including the choice of padding."""
        return self.delays.logic if self.delays else 0.0

    @property
    def block(self) -> BlockRam:
        """The block RAMs of the family; without a clock those of UltraScale+ and 7 series."""
        return (self.delays or DELAYS["xcup"]).block

    def delay(self, node: Node) -> float:
        """Delay of an op in the stage in which it starts."""
        d = self.delays
        if d is None:
            return 0.0
        if node.kind in SUM:  # of a late one, the lowest piece with the carry that leaves it
            pieces = self.pieces(node.bits)
            return d.sum(node.bits // pieces + int(pieces > 1))
        if node.kind == "arith.cmpi":
            return d.carry + d.bit * max(a.bits for a in node.args)
        if node.kind in SHIFT:
            return d.shift
        if node.kind in (*_LOGIC, "table"):  # a table starts with the choice of its index
            return d.logic
        # A multiplier, a lane sum and a saturation start behind a register.
        return math.inf if node.kind in ("arith.muli", "reduce", *EXTREME) else 0.0

    def latency(self, node: Node, terms: int = 1) -> int:
        """Cycles from the inputs of an op to its result; `terms` is the number of terms of a lane sum."""
        if self.delays is None or node.kind not in (*LATENCY, *EXTREME, *SUM):
            return LATENCY.get(node.kind, 0)
        if node.kind in SUM:
            return self.pieces(node.bits) - 1
        if node.kind == "arith.muli":
            # Two registers of the factors and two of the product; one for each piece of the sum of two products.
            return 4 + (self.pieces(node.bits - self.part(node)) if self.is_wide(node) else 0)
        if node.kind == "table":
            return self.read  # registered in front of the memory and behind it
        if node.kind == "reduce":
            levels, pieces = (terms - 1).bit_length(), self.pieces(node.bits)
            return levels * pieces if pieces > 1 else max(1, -(-levels // self.levels(node.bits)))
        return 1

    def rest(self, node: Node) -> float:
        """Delay of the logic of a multi-cycle op behind its last register."""
        if self.delays is None:
            return 0.0
        if node.kind in SUM:  # the last piece, to which the carry comes in as another bit
            return self.delays.sum(-(-node.bits // self.pieces(node.bits)) + 1)
        return self.delays.logic if node.kind in EXTREME else 0.0

    def levels(self, bits: int) -> int:
        """Levels of an adder tree that fit into one stage, where a sum does."""
        return int(self.budget // self.delays.sum(bits)) if self.delays else 64

    def pieces(self, bits: int) -> int:
        """The pieces of a sum of so many bits, each of which is added a cycle later than the one below.

        The carries of a piece, with a bit for the one that comes in and a bit for the one that leaves it, fit between
        two registers.
        """
        d = self.delays
        return next(n for n in range(1, bits + 1) if not d or d.sum(-(-bits // n) + min(n - 1, 2)) <= self.budget)

    def fastest(self, bits: int) -> float:
        """The clock in MHz at which a sum of so many bits still takes one cycle; infinite without a clock."""
        return 1000 / (self.delays.register + self.delays.sum(bits)) if self.delays else math.inf

    def fills(self, bits: int) -> bool:
        """Whether a sum of so many bits leaves no room for another cell of logic behind it."""
        return self.pieces(bits + CARRY) > 1

    def is_wide(self, node: Node) -> bool:
        """Whether a factor of a product is too wide for one multiplier, so that it needs two."""
        return max(map(_signed_bits, node.args)) > self.part(node) + 1

    def part(self, node: Node) -> int:
        """Bits of the lower part of a product's wider factor where it needs two multipliers."""
        narrow = min(map(_signed_bits, node.args))
        return (self.family.single if self.family and narrow <= FACTOR else FACTOR) - 1


def unextended(node: Node) -> Node:
    """The operand of an extension; any other value as it is."""
    return node.args[0] if node.kind in EXTENSION else node


def _signed_bits(node: Node) -> int:
    """Bits of a factor with its sign, without its extension."""
    return unextended(node).bits + (node.kind == "arith.extui")
