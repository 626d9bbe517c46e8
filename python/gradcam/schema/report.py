"""report.json: figures of a compile, for reading. All are predicted, none is measured but the time of the passes."""

from __future__ import annotations

from typing import Literal

from gradcam.schema.document import Count, Document, Natural, Record
from gradcam.schema.program import Cycles, Phase


class Layer(Record, frozen=True):
    """What the nests of one name and phase do.

    Attributes:
        name: of the nests.
        phase: of the nests.
        nests: their numbers in program.json.
        cycles: that they add to the phase.
        output_bytes: of the buffers that they write, padding channels counted.
        op: the convolution or linear layer of the inference that ends here, by its level-2 name without the dialect;
            null where none does.
        macs: its multiply-adds; 0 without one.
        weights: its weights; 0 without one.
        utilization: macs / multipliers / cycles between start and end of the nests: beside another layer they may add
            no cycles. Null without an op.
    """

    name: str
    phase: Phase
    nests: tuple[Natural, ...]
    cycles: Natural
    output_bytes: Natural
    op: str | None
    macs: Natural
    weights: Natural
    utilization: float | None


class PassTime(Record, frozen=True):
    """How long a pass took.

    Attributes:
        name: of the pass.
        seconds: wall time.
    """

    name: str
    seconds: float


class Report(Document, frozen=True, kw_only=True):
    """What report.json holds.

    Attributes:
        format: number of the format.
        model: its name.
        pe: the array, OCxIC.
        multipliers: of the array.
        macs: multiply-adds of an inference in convolutions and linear layers, padding channels not counted.
        cycles: of a run, by phase.
        overhead: cycles of the explanation / cycles of the inference.
        utilization: macs / multipliers / cycles of the inference.
        memory_bytes: by bank.
        packet_bytes: by packet buffer of the core.
        activation_bytes: of the banks that nests write.
        multiplications: by engine, of lanes and of rescales; engines without any are left out.
        layers: in program order; their cycles add up to all of the program's.
        passes: in the order in which they ran.
    """

    format: Literal[1] = 1
    model: str
    pe: str
    multipliers: Count
    macs: Natural
    cycles: Cycles
    overhead: float
    utilization: float
    memory_bytes: dict[str, Natural]
    packet_bytes: dict[str, Natural]
    activation_bytes: Natural
    multiplications: dict[str, Natural]
    layers: tuple[Layer, ...]
    passes: tuple[PassTime, ...]
