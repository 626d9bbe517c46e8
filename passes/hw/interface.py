"""The facts about a program that `gradcam_core` is built from, carried by an attribute of `gradcam_top`."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pycde.circt import ir as circt

from gradcam.errors import fail
from gradcam.passes.ir.attributes import BANK, CYCLES_BY_PHASE, PHASE
from gradcam.passes.ir.queries import global_values
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.packets import Channel, Packets
from gradcam.passes.program.scheduled_program import ScheduledProgram

#: The attribute of the top's `hw.module` that holds an `Interface`.
ATTRIBUTE = "gradcam_interface"


@dataclass(frozen=True)
class Interface(Packets):
    """The inputs and outputs of a run of the top, and facts about its schedule.

    Attributes:
        requests: names of one-element inputs, sampled at the start of a run: the class to explain, if one is explained.
        phases: the phase of every nest.
        cycles: predicted cycles of a run in which no stream stalls.
        fingerprint: CRC-32 over schedule and constants; of resident weights, over all but them.
        dram_bits: bits of a beat of the DRAM; 0 when all constants are on chip.
        resident: 1 where weights are loaded from the DRAM before the first run, else 0.
        family, mhz: the FPGA family and the clock that the hardware is made for; "" and 0 without a clock.
    """

    requests: Sequence[str]
    phases: Sequence[str]
    cycles: int
    fingerprint: int
    dram_bits: int
    resident: int
    family: str
    mhz: float

    @property
    def clock(self) -> Clock:
        """The clock of the hardware."""
        return Clock.named(self.family, self.mhz) if self.mhz else Clock()

    @property
    def crossing(self) -> int:
        """The crossing latency in cycles; 1 where signals between modules are registered for a target clock."""
        return self.clock.crossing

    def pieces(self, bits: int) -> int:
        """The pieces of a counter or sum of so many bits beside the array: with a target clock two, or more."""
        return max(1 + self.crossing, self.clock.pieces(bits))

    @staticmethod
    def of(program: ScheduledProgram) -> Interface:
        """The interface of a scheduled program."""
        packets, dram = Packets.of(program), program.platform.dram
        loads = [a for nest in program.nests for a in nest.loads]
        requests = {a.memref.arg_number: None for a in loads if access_kind(a) == "port"}
        return Interface(
            packets.inputs,
            packets.outputs,
            packets.classes,
            requests=[program.arguments[i] for i in requests],
            phases=[PHASE.get(nest.op) for nest in program.nests],
            cycles=CYCLES_BY_PHASE.get(program.module.operation)["total"],
            fingerprint=_fingerprint(program),
            dram_bits=dram.width if dram and (program.weight_stream or program.weight_load) else 0,
            resident=int(program.weight_load is not None),
            family=(program.platform.family or "") if program.platform.mhz else "",
            mhz=program.platform.mhz or 0.0,
        )

    def attribute(self) -> Any:
        """The interface as an attribute in CIRCT's context."""
        return _attribute(asdict(self))

    @staticmethod
    def read(module: Any) -> Interface:
        """Reads the interface from the `hw.module` of a top.

        Raises:
            GradcamError: the module has no such attribute.
        """
        if ATTRIBUTE not in module.attributes:
            raise fail(module, f"the module has no '{ATTRIBUTE}'; build it with convert-affine-to-hw")
        values = _plain(module.attributes[ATTRIBUTE])
        ends = {n: [Channel(**channel) for channel in values[n]] for n in ("inputs", "outputs")}
        return Interface(**(values | ends))


def _fingerprint(program: ScheduledProgram) -> int:
    """CRC-32 over weights, other constants and schedule: designs with different ones differ in it, except by chance.

    Of resident weights only where they lie counts: with it, and with all constants of nests, that is all that the
    hardware is made of.
    """
    state = 0
    for data in program.constants.values() if program.weight_load is None else _tables(program):
        state = zlib.crc32(data.tobytes(), state)
    if program.weight_load:
        layout = repr(program.weight_load), program.function.operation.get_asm()
        state = zlib.crc32(repr(layout).encode(), state)
    for nest in program.nests:
        schedule = {name: str(nest.op.attributes[name]) for name in nest.op.attributes}
        state = zlib.crc32(repr((nest.name, [loop.trip for loop in nest.loops], schedule)).encode(), state)
    return state


def _tables(program: ScheduledProgram) -> list[np.ndarray]:
    """The constants that are in no bank: the tables of lookups, which are part of the hardware."""
    names = [o for o in program.function.entry_block.operations if o.operation.name == "memref.get_global"]
    found = (global_values(o.results[0]) for o in names if not BANK.is_on(o))
    return [values for values in found if values is not None]


def _attribute(value: Any) -> Any:
    """A Python value (dict, list, string or number) as an attribute of CIRCT."""
    if isinstance(value, dict):
        return circt.DictAttr.get({n: _attribute(v) for n, v in value.items()})
    if isinstance(value, list | tuple):
        return circt.ArrayAttr.get([_attribute(v) for v in value])
    if isinstance(value, str):
        return circt.StringAttr.get(value)
    if isinstance(value, float):
        return circt.FloatAttr.get_f64(value)
    return circt.IntegerAttr.get(circt.IntegerType.get_signless(64), value)


def _plain(attribute: Any) -> Any:
    """The Python value of an attribute that `_attribute` returned."""
    if isinstance(attribute, circt.DictAttr):
        return {entry.name: _plain(entry.attr) for entry in attribute}
    if isinstance(attribute, circt.ArrayAttr):
        return [_plain(entry) for entry in attribute]
    return attribute.value
