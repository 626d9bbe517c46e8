"""The facts that `gradcam_core` must know of the program behind the ports of `gradcam_top`, as an attribute of it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pycde.circt import ir as circt

from gradcam.errors import fail
from gradcam.passes.ir.attributes import CYCLES_BY_PHASE, PHASE
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.packets import Channel, Packets
from gradcam.passes.program.scheduled_program import ScheduledProgram

#: The attribute of the top's `hw.module` that holds an `Interface`.
ATTRIBUTE = "gradcam_interface"


@dataclass(frozen=True)
class Interface(Packets):
    """The inputs and outputs of a run of the top, and its schedule.

    Attributes:
        requests: the plain inputs, sampled at its start: the class to explain, where one is explained.
        phases: of every nest.
        cycles: of a run without waiting, as predicted.
        fingerprint: a CRC-32 over constants and schedule.
        dram_bits: of a beat of the DRAM; 0 when no weights are there.
        hop: 1 where what crosses between its modules is registered, for a clock.
    """

    requests: Sequence[str]
    phases: Sequence[str]
    cycles: int
    fingerprint: int
    dram_bits: int
    crossing: int

    @staticmethod
    def of(program: ScheduledProgram) -> Interface:
        """The interface of a scheduled program."""
        packets, weights = Packets.of(program), program.weight_stream
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
            dram_bits=weights.width if weights else 0,
            crossing=program.clock.crossing,
        )

    def attribute(self) -> Any:
        """As an attribute of CIRCT's side."""
        return _attribute(asdict(self))

    @staticmethod
    def read(module: Any) -> Interface:
        """The interface that the `hw.module` of a top carries.

        Raises:
            GradcamError: it has none.
        """
        if ATTRIBUTE not in module.attributes:
            raise fail(module, f"the module has no '{ATTRIBUTE}'; build it with convert-affine-to-hw")
        values = _plain(module.attributes[ATTRIBUTE])
        ends = {n: [Channel(**channel) for channel in values[n]] for n in ("inputs", "outputs")}
        return Interface(**(values | ends))


def _fingerprint(program: ScheduledProgram) -> int:
    """Differs, but for chance, where weights, rescales, array or schedule differ."""
    state = 0
    for data in program.constants.values():
        state = zlib.crc32(data.tobytes(), state)
    for nest in program.nests:
        schedule = {name: str(nest.op.attributes[name]) for name in nest.op.attributes}
        state = zlib.crc32(repr((nest.name, [loop.trip for loop in nest.loops], schedule)).encode(), state)
    return state


def _attribute(value: Any) -> Any:
    if isinstance(value, dict):
        return circt.DictAttr.get({n: _attribute(v) for n, v in value.items()})
    if isinstance(value, list | tuple):
        return circt.ArrayAttr.get([_attribute(v) for v in value])
    if isinstance(value, str):
        return circt.StringAttr.get(value)
    return circt.IntegerAttr.get(circt.IntegerType.get_signless(64), value)


def _plain(attribute: Any) -> Any:
    if isinstance(attribute, circt.DictAttr):
        return {entry.name: _plain(entry.attr) for entry in attribute}
    if isinstance(attribute, circt.ArrayAttr):
        return [_plain(entry) for entry in attribute]
    return attribute.value
