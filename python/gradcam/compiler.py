"""The compile driver: a model through every level, as far as asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcam.bits import LEAST, WIDE, Bits
from gradcam.checks import check_layers, check_types, check_used, checked_shape, named
from gradcam.dialect.methods import METHODS, method_named
from gradcam.dram import Dram
from gradcam.errors import GradcamError
from gradcam.images import ASSUMED, ASSUMED_INSIDE, Image, Numbers, Preprocessing, Size, load_images
from gradcam.names import check_name
from gradcam.outside import outside
from gradcam.passes.infra.instrumentation import Timing
from gradcam.passes.infra.pass_manager import Instrumentation, PassManager
from gradcam.passes.infra.registry import PIPELINES, lookup
from gradcam.pe import PE
from gradcam.schema.schedule import read_schedule

if TYPE_CHECKING:  # they import torch and MLIR
    from gradcam.passes.program.clock import Clock
    from gradcam.passes.quantize.calibrate import Choice
    from gradcam.schema.report import Quality

_log = logging.getLogger(__name__)

#: The levels that `emit` can name, in the order in which a model passes through them.
LEVELS = ("gradcam", "simplified", "quantized", "linalg", "affine", "scheduled", "hw", "verilog")

#: The places where weights can be.
PLACES = ("onchip", "dram", "resident")

#: The rules by which ranges are chosen; the percentile of one of them where none is given.
RANGES = ("mse", "percentile", "max")
PERCENTILE = 99.99

#: The FPGA family of a clock where none is given.
FAMILY = "ecp5"

#: The pipeline that leads to a level from the one before; calibration stands between "simplified" and "quantized".
_PIPELINE = {
    "simplified": "gradcam-backward-pipeline",
    "quantized": "gradcam-quantize",
    "linalg": "gradcam-linalg-pipeline",
    "affine": "gradcam-affine-pipeline",
    "scheduled": "gradcam-schedule-pipeline",
    "hw": "gradcam-hw-pipeline",
    "verilog": "gradcam-sv-pipeline",
}


@dataclass(frozen=True)
class Settings:
    """The settings of a compile.

    Attributes:
        target_layer: module path of the feature map to explain, or several; None: logits only.
        method: one of `gradcam.dialect.methods.METHODS`.
        pe: the processing-element array, OCxIC.
        calibration: images from which ranges are measured: a file, a folder, an array or an iterable of these, see
            `gradcam.images.load_images`; None takes the model's own.
        mean: mean of the pixels that the model was trained on, from 0 to 1, one number or one per channel; with `std`.
        std: their standard deviation, in the same form.
        preset: mean and std by name: "imagenet", "tf", "zero-one" or "minus-one-one". Without all three: the last, and
            "zero-one" for a model that normalizes its image itself.
        resize: size to which images are resized: pixels of the shorter side, or height and width; None: not at all.
        crop: size that is cut from the centre of images, one number for a square; None: the whole image.
        background: colour on which transparent images are composed, by name, as "#rrggbb", or its three levels.
        validate: images on which int8 is compared with float at the end of a compile, in the forms of `calibration`;
            None takes some of the calibration images, False leaves the comparison out.
        range_choice: the rule by which a range is chosen from the calibration statistics: "mse", "percentile" or "max".
        percentile: the percentile of the absolute values, for "percentile"; None: 99.99.
        input_shape: (1, C, H, W); None takes the model's own.
        top_k: classes to explain at every target layer: the requested or predicted one, then the best others.
        pool_map: side of the blocks of which each map has the means, which removes the checkerboard of hirescam and
            layercam behind strides; 1: maps as they are.
        activation_bits: bits of feature maps, from 8 to 12.
        gradient_bits: bits of gradients, from 8 to 16.
        weight_bits: bits of weights, from 8 to 12.
        dsp_packing: two int8 products per multiplication, as wide as a DSP48E2 multiplies.
        weights: the place of the weights: "onchip", "dram", from which they are read while the program runs, or
            "resident": on chip, where they are loaded from DRAM before the first run, and no part of the hardware.
        dram_width: bits of a beat of the DRAM; None: 64.
        dram_outstanding: the most reads that may be under way; None: 8.
        dram_latency: cycles from a read to its first beat that the predicted cycles assume; None: 64.
        max_onchip_bytes: the most bytes of memory on chip; None sets no limit.
        schedule: a file such as the `schedule.json` of a compile, which fixes choices that the compiler makes
            otherwise; see `gradcam.schema.schedule`.
        clock_mhz: the clock that pipelines are made for; None registers products, shifts and lane sums only.
        family: the FPGA family that the design is for: one of `gradcam.passes.program.clock.DELAYS`. Without a clock,
            a family whose DSP slices form cascades; None: any family, with a clock "ecp5".
        name: what the names of all modules, memory files, projects and macros begin with, so that several designs fit
            one project: a-z, 0-9 and single underscores; None: nothing, for the only design of a project.

    Raises:
        GradcamError: a setting is invalid: an unknown method, place or family, an array with a side that is no power
            of two, a `top_k` or `pool_map` below 1, or above 1 without a target layer, a preprocessing, a DRAM, a
            clock or a name that is impossible, or a schedule that cannot be read.
    """

    target_layer: str | Sequence[str] | None
    method: str = "gradcam"
    pe: str = "16x16"
    calibration: Any = None
    mean: Numbers | None = None
    std: Numbers | None = None
    preset: str | None = None
    resize: Size | None = None
    crop: Size | None = None
    background: str | Sequence[int] = "black"
    validate: Any = None
    range_choice: Choice = "mse"
    percentile: float | None = None
    input_shape: tuple[int, ...] | None = None
    top_k: int = 1
    pool_map: int = 1
    activation_bits: int = LEAST
    gradient_bits: int = LEAST
    weight_bits: int = LEAST
    dsp_packing: bool = False
    weights: str = "onchip"
    dram_width: int | None = None
    dram_outstanding: int | None = None
    dram_latency: int | None = None
    max_onchip_bytes: int | None = None
    schedule: str | Path | None = None
    clock_mhz: float | None = None
    family: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_layers(self.target_layer)
        object.__setattr__(self, "method", method_named(self.method))
        PE.parse(self.pe)
        _ = Bits.of(self)
        _ = self.preprocessing
        if self.input_shape is not None:
            object.__setattr__(self, "input_shape", checked_shape(self.input_shape))
        self._check_explanation()
        self._check_choices()
        Dram(**self._dram)
        read_schedule(self.schedule or "")
        self._check_packing()
        dram = self.weights != "onchip", f"it is for {named('weights')} dram or resident"
        needs = {
            "gradient_bits": (bool(self.target_layer), "it is for an explanation; name a target layer"),
            "percentile": (self.range_choice == "percentile", f"it is for {named('range_choice')} percentile"),
            "family": (self._uses_family, f"without a clock all designs for it are alike; give {named('clock_mhz')}"),
            **{f"dram_{name}": dram for name in ("width", "outstanding", "latency")},
        }
        check_used(self, needs)

    def _check_explanation(self) -> None:
        """Refuses settings of an explanation that cannot be, or where there is none."""
        for name, value in (("top-k", self.top_k), ("pool-map", self.pool_map)):
            if value < 1:
                raise GradcamError(f"{name} must be at least 1, got {value}")
            if value > 1 and not self.target_layer:
                raise GradcamError(f"{name} {value} asks for explanations; name a target layer")
        if self.method != METHODS[0] and not self.target_layer:
            raise GradcamError(f"method {self.method} asks for an explanation; name a target layer")

    def _check_choices(self) -> None:
        """Refuses names and numbers that are none of those that there are."""
        if self.weights not in PLACES:
            raise GradcamError(f"weights must be one of {', '.join(PLACES)}, got '{self.weights}'")
        if self.range_choice not in RANGES:
            raise GradcamError(f"{named('range_choice')} must be one of {', '.join(RANGES)}, got {self.range_choice!r}")
        if self.percentile is not None and not 0 < self.percentile <= 100:
            raise GradcamError(f"{named('percentile')} must be above 0 and at most 100, got {self.percentile:g}")
        if self.clock_mhz is not None and not self.clock_mhz > 0:
            raise GradcamError(f"a clock must be above 0 MHz, got {self.clock_mhz:g}")
        if self.max_onchip_bytes is not None and self.max_onchip_bytes < 1:
            raise GradcamError(f"{named('max_onchip_bytes')} must be at least 1, got {self.max_onchip_bytes}")
        if self.name is not None:
            check_name(self.name)
        if self.validate is True:
            raise GradcamError("validate must be images, None for some of the calibration images, or False for none")

    def _check_packing(self) -> None:
        """Refuses products that do not fit a DSP slice in pairs."""
        clock = self._clock
        wide = WIDE if clock is None else clock.factor
        if self.dsp_packing and not Bits.of(self).packs(wide):
            bits = f"weights of {self.weight_bits} bits with activations of {self.activation_bits}"
            most = f"activation bits and twice the weight bits may be {wide - 1} together"
            raise GradcamError(f"{named('dsp_packing')} cannot put two products of {bits} into a DSP slice: {most}")

    @property
    def preprocessing(self) -> Preprocessing:
        """What makes inputs of the model of pixels."""
        return Preprocessing.of(self.mean, self.std, self.preset, self.resize, self.crop, self.background)

    @property
    def _clock(self) -> Clock | None:
        """The clock and family; None where neither is given.

        Raises:
            GradcamError: there is no such family, or no such clock on it.
        """
        if self.clock_mhz is None and self.family is None:
            return None
        from gradcam.passes.program.clock import Clock  # it imports MLIR

        return Clock.named(self.family or FAMILY, self.clock_mhz)

    @property
    def _uses_family(self) -> bool:
        """Whether a design depends on the FPGA family."""
        clock = self._clock
        return clock is not None and (clock.cascade > 1 or self.clock_mhz is not None)

    @property
    def dram(self) -> Dram | None:
        """The DRAM that holds the weights; None where they are part of the design."""
        return None if self.weights == "onchip" else Dram(**self._dram)

    @property
    def _dram(self) -> dict[str, int]:
        """The parameters of the DRAM that are given."""
        given = {"width": self.dram_width, "outstanding": self.dram_outstanding, "latency": self.dram_latency}
        return {name: value for name, value in given.items() if value is not None}


#: A pass for `PassManager.add`: its name, or its name and its options.
Element = str | tuple[str, dict[str, Any]]


def passes_for(level: str, settings: Settings) -> list[Element]:
    """The passes that lead to `level` from the level before with `settings`."""
    file = {} if settings.schedule is None else {"file": str(settings.schedule)}
    options: dict[str, dict[str, Any]] = {
        "gradcam-quantize": asdict(Bits.of(settings)),
        "gradcam-unfold-stem": file,
        "gradcam-choose-schedule": file,
        "gradcam-tile-pixels": file,
        "gradcam-overlap-nests": file,
        "convert-affine-to-hw": {"dsp_packing": settings.dsp_packing},
    }
    before: dict[str, list[Element]] = {"gradcam-group-pixels": _platform_passes(settings)}
    if settings.name is not None:
        before["lower-seq-to-sv"] = [("gradcam-prefix-modules", {"design": settings.name})]
    after: dict[str, list[Element]] = {"gradcam-plan-memory": _memory_passes(settings, file)}
    passes: list[Element] = []
    for name in PIPELINES[_PIPELINE[level]] if _PIPELINE[level] in PIPELINES else (_PIPELINE[level],):
        passes += [*before.get(name, []), (name, options[name]) if name in options else name, *after.get(name, [])]
    return passes


def _platform_passes(settings: Settings) -> list[Element]:
    """The passes that set the platform of the module."""
    platform: dict[str, Any] = {"pe": settings.pe}
    if dram := settings.dram:
        platform |= {f"dram_{name}": value for name, value in asdict(dram).items()}
        platform["resident"] = settings.weights == "resident"
    if settings.family is not None:
        platform["family"] = settings.family
    passes: list[Element] = [("gradcam-set-platform", platform)]
    if settings.clock_mhz is not None:
        passes.append(("gradcam-target-clock", {"mhz": settings.clock_mhz, "family": settings.family or FAMILY}))
    return passes


def _memory_passes(settings: Settings, file: dict[str, Any]) -> list[Element]:
    """The passes that change or check the memories after gradcam-plan-memory."""
    limit = {} if settings.max_onchip_bytes is None else {"bytes": settings.max_onchip_bytes}
    streamed = settings.weights == "dram"
    passes: list[Element] = ["gradcam-stream-weights", ("gradcam-size-ring", limit | file)] if streamed else []
    if limit:
        passes.append(("gradcam-limit-memory", limit))
    return passes


def pipeline_for(level: str, settings: Settings) -> PassManager:
    """A pass manager with the passes that lead to `level` from the level before with `settings`."""
    manager = PassManager()
    for element in passes_for(level, settings):
        manager.add(element if isinstance(element, str) else lookup(element[0])(**element[1]))
    return manager


def _check_quantizable(module: Any) -> None:
    """Refuses ops and heads that gradcam-quantize refuses, before the calibration, which may take long."""
    from gradcam.passes.ir.queries import main_function
    from gradcam.passes.quantize.checks import classifier_of, refuse_unsupported

    main = main_function(module)
    refuse_unsupported(main)
    classifier_of(list(main.entry_block.operations)[-1])


def _tell_hardwired(module: Any) -> None:
    """Says which layers have integers that follow from ranges and stay part of the hardware, with resident weights."""
    from gradcam.passes.ir.queries import location_name, main_function
    from gradcam.passes.linalg.convert_gradcam_to_linalg import is_hardwired

    ops = filter(is_hardwired, main_function(module).entry_block.operations)
    layers = list(dict.fromkeys(f"{location_name(op)} ({op.operation.name.removeprefix('gradcam.')})" for op in ops))
    if layers:
        listed = ", ".join(layers[:3]) + (f" and {len(layers) - 3} more" if len(layers) > 3 else "")
        reason = "bounds or tables that follow from ranges stay part of the hardware"
        _log.warning("%s: %s, so that other weights may need another bitstream", listed, reason)


class Compilation:
    """A model on its way through the levels: iterating yields every level of `LEVELS` with its module.

    A module is of torch-mlir's bindings up to "scheduled", of CIRCT's from "hw". The next level changes it in place.

    Raises (while it iterates):
        GradcamError: the model, the settings or the calibration images cannot be used.
    """

    def __init__(
        self,
        model: Any,
        settings: Settings,
        watchers: Iterable[Instrumentation] = (),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepares the compilation; it starts when it is iterated.

        Args:
            model: an nn.Module in eval mode, or an exported program.
            settings: what to compile for.
            watchers: pass instrumentation.
            say: called with the name of every stage as it begins.
        """
        self.model, self.settings = model, settings
        self.timing = Timing()
        self._watchers = [self.timing, *watchers]
        self._say = say
        #: The preset of pixels, where the settings do not say; of which it is yet to be told.
        self._assumed = ASSUMED if settings.mean is None and settings.preset is None else None
        self._told_assumed = False
        self._kept: list[Any] = []
        self._validation: Iterator[Image] = iter(())
        self._levels = self._run()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return self._levels

    def to(self, level: str) -> Any:
        """Continues to `level`, a later one of `LEVELS` than the present one, and returns its module."""
        return next(module for reached, module in self if reached == level)

    def _run(self) -> Iterator[tuple[str, Any]]:
        from gradcam.frontend import import_model
        from gradcam.passes.backward.fold_normalization import reads_normalized

        settings = self.settings
        self._say("import")
        shape, targets, method = settings.input_shape, settings.target_layer, settings.method
        module = import_model(self.model, shape, targets, method, top_k=settings.top_k, pool_map=settings.pool_map)
        if self._assumed and reads_normalized(module):
            self._assumed = ASSUMED_INSIDE
        yield LEVELS[0], module
        for level in LEVELS[1:]:
            if level == "quantized":
                _check_quantizable(module)
                self._say("calibrate")
                self._calibrate(module)
            self._say(level)
            module = pipeline_for(level, settings).run(module, *self._watchers)
            if level == "simplified":
                self._tell_normalization(module)
            if level == "quantized" and settings.weights == "resident":
                _tell_hardwired(module)
            yield level, module

    @property
    def preprocessing(self) -> Preprocessing:
        """What makes inputs of the model of pixels, once the model is imported."""
        chosen = replace(self.settings, preset=self._assumed) if self._assumed else self.settings
        return chosen.preprocessing

    def _tell_normalization(self, module: Any) -> None:
        from gradcam.passes.ir.normalization import normalization_of
        from gradcam.passes.ir.queries import main_function

        if own := normalization_of(main_function(module)):
            after = "" if self._assumed else f", after {named('preset')}, or {named('mean')} and {named('std')}"
            _log.warning("the model's own %s is applied to the image before the design%s", own, after)

    def _calibrate(self, module: Any) -> None:
        from gradcam.passes.quantize.calibrate import calibrate, input_shape
        from gradcam.quality import IMAGES, Spread

        self._begin_validation(input_shape(module))
        images: Any = self.settings.calibration
        if images is None:
            images = getattr(self.model, "calibration_images", None)
            if images is None:
                reason = "this model brings no calibration images"
                raise GradcamError(f"{reason}; name a file or a folder of images by {named('calibration')}")
            with outside("the model's calibration_images failed"):
                images = images() if callable(images) else images
        loaded = self._told(load_images(images, input_shape(module), self.preprocessing))
        spread = Spread[Any](IMAGES)
        inputs = spread.passing(image.input for image in loaded)
        percentile, bits = self.settings.percentile or PERCENTILE, self.settings.activation_bits
        calibrate(module, inputs, self.settings.range_choice, percentile, bits)
        self._kept = spread.kept

    def _begin_validation(self, shape: Sequence[int]) -> None:
        """Reads the first validation image, so that what cannot be used is refused before the calibration."""
        if self.settings.validate is None or self.settings.validate is False:
            return
        images = self._told(load_images(self.settings.validate, shape, self.preprocessing))
        self._validation = chain([next(images)], images)

    def _told(self, images: Iterable[Image]) -> Iterator[Image]:
        """The images; says once that pixels became inputs in a way that nobody asked for."""
        for image in images:
            if image.preprocessed and self._assumed and not self._told_assumed:
                self._told_assumed = True
                other = f"{named('preset')}, or {named('mean')} and {named('std')}, say otherwise"
                normalizes = self._assumed == ASSUMED_INSIDE
                range_ = "0 to 1, since the model normalizes them itself" if normalizes else "-1 to 1"
                _log.warning("pixels become %s, as preset %s; %s", range_, self._assumed, other)
            yield image

    def quality(self, simplified: Any, quantized: Any) -> Quality | None:
        """Compares int8 with float on the images of `Settings.validate`; None where the settings leave this out.

        Args:
            simplified: the module of level "simplified".
            quantized: the module of level "quantized".

        Raises:
            GradcamError: the images cannot be used.
        """
        if (images := self.settings.validate) is False:
            return None
        from gradcam.quality import default_count, evenly, measure

        self._say("validate")
        if images is None:
            return measure(simplified, quantized, evenly(self._kept, default_count(quantized)), "calibration")
        return measure(simplified, quantized, self._counted(self._validation), "validation")

    def _counted(self, images: Iterable[Image]) -> Iterator[Any]:
        """The inputs of validation images; says how many were taken."""
        for number, image in enumerate(images):
            self._say(f"validate: {number} images done")
            yield image.input
