"""report.json: figures of a compile, for people. Cycles are predicted; quality and the times of passes are measured."""

from __future__ import annotations

from typing import Literal

from gradcam.schema.document import Amount, Correlation, Count, Document, Natural, Record, Share
from gradcam.schema.program import Cycles, Explanation, Phase, WordReads


class Layer(Record, frozen=True):
    """The figures of a layer: the nests of one name and phase.

    Attributes:
        name: name of the nests.
        phase: phase of the nests.
        nests: numbers of the nests in program.json.
        cycles: cycles that the nests add to the phase.
        output_bytes: bytes of the buffers that the nests write, padding channels included.
        op: the convolution or linear layer of the inference, or the adjoint of one, that ends in this layer, by its
            level-2 name without the dialect; null where none does.
        macs: multiply-adds of the op; 0 without an op.
        weights: number of weights of the op; 0 without an op, and for an adjoint, which reads those of the inference.
        utilization: macs / multipliers of the engines that run the nests / cycles between start and end of the nests,
            since nests that run beside another layer may add no cycles; null without an op.
    """

    name: str
    phase: Phase
    nests: tuple[Natural, ...]
    cycles: Natural
    output_bytes: Natural
    op: str | None
    macs: Natural
    weights: Natural
    utilization: Amount | None


class Rounding(Record, frozen=True):
    """The weights of a layer that int8 rounds to 0.

    Attributes:
        layer: name of the convolution or linear layer.
        nonzero: number of weights that are not 0 in the float network.
        zeroed: number of those that int8 rounds to 0.
    """

    layer: str
    nonzero: Natural
    zeroed: Natural


class PassTime(Record, frozen=True):
    """The time of a pass.

    Attributes:
        name: name of the pass.
        seconds: wall time in seconds.
    """

    name: str
    seconds: Amount


class MapQuality(Record, frozen=True):
    """How well a map correlates with the float network's map, by Pearson's coefficient, from -1 to 1.

    Attributes:
        images: images for which it is defined: both networks explain the same class, and the float map is not constant.
        median, tenth, least: median, 10th percentile and least over these images; null where there are none.
    """

    images: Natural
    median: Correlation | None
    tenth: Correlation | None
    least: Correlation | None


class Saturation(Record, frozen=True):
    """The activations of a layer, or the elements of a gradient, that are beyond the range in which they are stored.

    Attributes:
        layer: name of the layer, or of the gradient.
        share: share of its elements in all images.
    """

    layer: str
    share: Share


#: Where the images come from that the quality is measured on: of the calibration, or given for it.
Source = Literal["calibration", "validation"]


class Quality(Record, frozen=True):
    """The int8 network, which the RTL equals bit for bit, compared with the float network.

    Attributes:
        source: where the images come from.
        images: number of images.
        same_class: images for which both networks predict the same class.
        logit_error: largest difference of a logit.
        largest_logit: largest magnitude of a logit of the float network.
        pixels_outside: share of the elements of the images that lie outside of the calibrated range.
        maps: the maps by their names.
        noise: by name, the maps of the float network for images with noise of half a level beside those for the images
            as they are; see `gradcam.stability`.
        shift: the same for images that are shifted by one pixel, whose maps are shifted back.
        saturated: the layers that are stored in 8 bits, in program order.
        saturated_gradients: the gradients, in program order.
    """

    source: Source
    images: Count
    same_class: Natural
    logit_error: Amount
    largest_logit: Amount
    pixels_outside: Share
    maps: dict[str, MapQuality]
    noise: dict[str, MapQuality]
    shift: dict[str, MapQuality]
    saturated: tuple[Saturation, ...]
    saturated_gradients: tuple[Saturation, ...]


class Report(Document, frozen=True, kw_only=True):
    """The contents of report.json.

    Attributes:
        format: number of the format.
        model: name of the model.
        pe: the array, OCxIC.
        multipliers: number of multipliers of the engines that compute convolutions and linear layers: those of the
            array, and where there are depthwise convolutions, those of their engine.
        macs: multiply-adds of an inference in convolutions and linear layers, padding channels not counted.
        cycles: cycles of a run by phase.
        overhead: cycles of the explanation / cycles of the inference.
        utilization: macs / multipliers / cycles of the inference.
        memory_bytes: bytes by bank, and by module of lookup tables, of all its lanes.
        block_rams: planned block RAMs by bank, of 36 Kbit, or of 18 Kbit for a clock of ECP5.
        packet_bytes: bytes by packet buffer of the core.
        activation_bytes: bytes of the banks that nests write.
        word_reads: words that an inference reads from the memories of the core.
        multiplications: multiplications by engine, of lanes and of rescales; engines without any are left out.
        layers: layers in program order; their cycles add up to the program's.
        rounding: the layers of the inference that have weights, in program order.
        passes: passes in the order in which they ran.
        bits: of each kind of integer, by the name of the setting; see `gradcam.bits`.
        explains: the explanation that each map gives, by the name of the map.
        quality: the quality of the int8 network; null where it was not measured.
    """

    format: Literal[4] = 4
    model: str
    pe: str
    multipliers: Count
    macs: Natural
    cycles: Cycles
    overhead: Amount
    utilization: Share
    memory_bytes: dict[str, Natural]
    block_rams: dict[str, Amount]
    packet_bytes: dict[str, Natural]
    activation_bytes: Natural
    word_reads: WordReads
    multiplications: dict[str, Natural]
    layers: tuple[Layer, ...]
    rounding: tuple[Rounding, ...]
    passes: tuple[PassTime, ...]
    bits: dict[str, Count]
    explains: dict[str, Explanation]
    quality: Quality | None
