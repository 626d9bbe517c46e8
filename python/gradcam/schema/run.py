"""report.json of a run: the report of the compile, and what `gradcam-sim` made of images."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from gradcam.schema.document import Amount, Correlation, Natural, Record, Share
from gradcam.schema.program import Cycles, Scale
from gradcam.schema.report import Quality, Report


class Wait(Record, frozen=True):
    """The cycles for which a nest waits for weights from DRAM.

    Attributes:
        nest: number of the nest in program.json.
        name: name of the nest.
        stall_cycles: as predicted for an ideal DRAM.
        simulated_stall_cycles: as simulated.
    """

    nest: Natural
    name: str
    stall_cycles: Natural
    simulated_stall_cycles: Natural


class ImageRun(Record, frozen=True):
    """An image and what the design made of it.

    Attributes:
        image: name of the image.
        simulated_cycles: cycles by phase.
        cycles_per_second: speed of the simulator.
        predicted_class: the best class.
        explained_class: the class of the only map, or that of every map; null in a design without maps.
        pixels_outside: share of the pixels that are outside of the calibrated range.
        dram: the nests that read weights from DRAM.
        diagnostic: notes on unusual maps; "" for none.
        class_of_float: whether the float network predicts the same class; null where nothing was compared with it.
        logit_error: largest difference of a logit to the float network; null where nothing was compared.
        pearson: by map, Pearson's coefficient with the map of the float network; null where it is not defined.
        load_cycles: cycles of the load of weights before the first image; null in a design that loads none.
    """

    image: str
    simulated_cycles: Cycles
    cycles_per_second: Natural
    predicted_class: Natural
    explained_class: Natural | tuple[Natural, ...] | None
    pixels_outside: Share
    dram: tuple[Wait, ...]
    diagnostic: str
    class_of_float: bool | None = None
    logit_error: Amount | None = None
    pearson: dict[str, Correlation | None] = msgspec.field(default_factory=dict)
    load_cycles: Natural | None = None

    @property
    def classes(self) -> tuple[int, ...]:
        """The class that each map explains."""
        if self.explained_class is None:
            return ()
        return (self.explained_class,) if isinstance(self.explained_class, int) else self.explained_class


class RunReport(Report, frozen=True, kw_only=True):
    """The contents of report.json of a run.

    Attributes:
        images: the images in their order. A file with one image has the members of that beside the others.
        scales: real value of an integer 1 of the image and of every output, by name.
        reference_equal: whether logits and maps equal the integer reference; null where they were not compared.
        simulated_quality: quality of the RTL on these images; null where it was not measured.
    """

    REMEDY: ClassVar[str] = "simulate again"

    images: Annotated[tuple[ImageRun, ...], msgspec.Meta(min_length=1, description="a list of at least one image")]
    scales: dict[str, Scale]
    reference_equal: bool | None
    simulated_quality: Quality | None

    @classmethod
    def arranged(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Gathers the members of an only image."""
        if "images" in data:
            return data
        own = {field.name for field in msgspec.structs.fields(ImageRun)} & data.keys()
        rest = {name: value for name, value in data.items() if name not in own}
        return rest | {"images": [{name: data[name] for name in own}]}
