"""report.json: figures of a compile, for people. All are predicted; only the times of the passes are measured."""

from __future__ import annotations

from typing import Literal

from gradcam.schema.document import Count, Document, Natural, Record
from gradcam.schema.program import Cycles, Phase


class Layer(Record, frozen=True):
    """The figures of a layer: the nests of one name and phase.

    Attributes:
        name: name of the nests.
        phase: phase of the nests.
        nests: numbers of the nests in program.json.
        cycles: cycles that the nests add to the phase.
        output_bytes: bytes of the buffers that the nests write, padding channels included.
        op: the convolution or linear layer of the inference that ends in this layer, by its level-2 name without the
            dialect; null where none does.
        macs: multiply-adds of the op; 0 without an op.
        weights: number of weights of the op; 0 without an op.
        utilization: macs / multipliers / cycles between start and end of the nests, since nests that run beside
            another layer may add no cycles; null without an op.
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
    """The time of a pass.

    Attributes:
        name: name of the pass.
        seconds: wall time in seconds.
    """

    name: str
    seconds: float


class Report(Document, frozen=True, kw_only=True):
    """The contents of report.json.

    Attributes:
        format: number of the format.
        model: name of the model.
        pe: the array, OCxIC.
        multipliers: number of multipliers of the array.
        macs: multiply-adds of an inference in convolutions and linear layers, padding channels not counted.
        cycles: cycles of a run by phase.
        overhead: cycles of the explanation / cycles of the inference.
        utilization: macs / multipliers / cycles of the inference.
        memory_bytes: bytes by bank.
        packet_bytes: bytes by packet buffer of the core.
        activation_bytes: bytes of the banks that nests write.
        multiplications: multiplications by engine, of lanes and of rescales; engines without any are left out.
        layers: layers in program order; their cycles add up to the program's.
        passes: passes in the order in which they ran.
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
