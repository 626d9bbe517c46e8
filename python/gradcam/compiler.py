"""The compile driver: a model through every level, as far as asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcam.dialect.methods import method_fault
from gradcam.dram import check_dram
from gradcam.errors import GradcamError
from gradcam.passes.infra.instrumentation import Timing
from gradcam.passes.infra.pass_manager import Instrumentation, PassManager
from gradcam.passes.infra.pass_options import value_text
from gradcam.passes.infra.registry import PIPELINES
from gradcam.pe import PE
from gradcam.schedule_file import read_schedule

if TYPE_CHECKING:  # it imports torch
    from gradcam.passes.quantize.calibrate import Choice

#: What `emit` can name, in the order in which a model passes through it.
LEVELS = ("gradcam", "simplified", "quantized", "linalg", "affine", "scheduled", "hw", "verilog")

#: Where weights can be.
PLACES = ("onchip", "dram")

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
    """What a compile can be told.

    Attributes:
        target_layer: module path of the feature map to explain, or several; None: logits only.
        method: one of `gradcam.dialect.methods.METHODS`.
        pe: the processing-element array, OCxIC.
        calibration: a folder of images, an .npy file or an iterable of images; None takes the model's own.
        range_choice: how a range is chosen from the calibration statistics: "mse", "percentile" or "max".
        percentile: of the absolute values, for "percentile".
        input_shape: (1, C, H, W); None takes the model's own.
        top_k: classes to explain at every target layer: the requested or predicted one, then the best others.
        dsp_packing: two int8 products per multiplication, as wide as a DSP48E2 multiplies.
        weights: where the weights are: "onchip", or "dram", from which they are read while the program runs.
        dram_width: bits of a beat of the DRAM.
        dram_outstanding: reads that may be under way.
        dram_latency: cycles from a read to its first beat that the predicted cycles assume.
        max_onchip_bytes: most bytes of memory on chip; None sets no limit.
        schedule: a file such as the `schedule.json` of a compile, which says what is else chosen; see
            `gradcam.schedule_file`.
        clock_mhz: the clock that pipelines are made for; None registers products, shifts and lane sums only.
        family: of FPGAs, for the clock: one of `gradcam.passes.program.clock.DELAYS`.

    Raises:
        GradcamError: there is no such method or place, the array is not one of powers of two, `top_k` is less than 1
            or more without a target layer, no DRAM is like that, the schedule cannot be read, or no
            family or clock is like that.
    """

    target_layer: str | Sequence[str] | None
    method: str = "gradcam"
    pe: str = "16x16"
    calibration: Any = None
    range_choice: Choice = "mse"
    percentile: float = 99.99
    input_shape: tuple[int, ...] | None = None
    top_k: int = 1
    dsp_packing: bool = False
    weights: str = "onchip"
    dram_width: int = 64
    dram_outstanding: int = 8
    dram_latency: int = 64
    max_onchip_bytes: int | None = None
    schedule: str | Path | None = None
    clock_mhz: float | None = None
    family: str = "ecp5"

    def __post_init__(self) -> None:
        if fault := method_fault(self.method):
            raise GradcamError(fault)
        PE.parse(self.pe)
        if self.top_k < 1:
            raise GradcamError(f"top-k must be at least 1, got {self.top_k}")
        if self.top_k > 1 and not self.target_layer:
            raise GradcamError(f"top-k {self.top_k} asks for explanations; name a target layer")
        if self.weights not in PLACES:
            raise GradcamError(f"weights must be one of {', '.join(PLACES)}, got '{self.weights}'")
        check_dram(self.dram_width, self.dram_outstanding, self.dram_latency)
        read_schedule(self.schedule or "")
        if self.clock_mhz is not None:
            from gradcam.passes.program.clock import Clock  # it imports MLIR

            Clock.named(self.family, self.clock_mhz)

    @property
    def options(self) -> dict[str, str]:
        """Options of the passes that these settings change, as pipeline text."""
        file = "" if self.schedule is None else f" file={value_text(str(self.schedule))}"
        width = f" dram-width={self.dram_width}" if self.weights == "dram" else ""
        options = dict.fromkeys(("convert-gradcam-to-linalg", "gradcam-split-time-space"), f"pe={self.pe}")
        options |= {"gradcam-unfold-stem": f"pe={self.pe}{file}", "gradcam-choose-schedule": (file + width).lstrip()}
        options |= {"gradcam-overlap-nests": "late-constants"} if self.weights == "dram" else {}
        return options | ({"convert-affine-to-hw": "dsp-packing"} if self.dsp_packing else {})

    @property
    def memory_passes(self) -> list[str]:
        """What these settings do to the memories that gradcam-plan-memory laid out."""
        passes = []
        if self.weights == "dram":
            numbers = f"width={self.dram_width} outstanding={self.dram_outstanding} latency={self.dram_latency}"
            ring = [f"bytes={self.max_onchip_bytes}"] if self.max_onchip_bytes is not None else []
            ring += [f"file={value_text(str(self.schedule))}"] if self.schedule is not None else []
            passes += [f"gradcam-stream-weights{{{numbers}}}", f"gradcam-size-ring{{{' '.join(ring)}}}"]
        if self.max_onchip_bytes is not None:
            passes.append(f"gradcam-limit-memory{{bytes={self.max_onchip_bytes}}}")
        return passes


def pipeline_for(level: str, settings: Settings) -> str:
    """The passes that lead to `level` from the level before with `settings`, as pipeline text."""
    text = PIPELINES.get(_PIPELINE[level], _PIPELINE[level])
    for name, options in settings.options.items():
        text = text.replace(name, f"{name}{{{options}}}")
    if settings.clock_mhz is not None:
        clock = f"gradcam-target-clock{{mhz={settings.clock_mhz} family={settings.family}}}"
        text = text.replace("gradcam-form-engines", f"{clock},gradcam-form-engines")
    return text.replace("gradcam-plan-memory", ",".join(["gradcam-plan-memory", *settings.memory_passes]))


class Compilation:
    """A model on its way through the levels."""

    def __init__(
        self, settings: Settings, watchers: Iterable[Instrumentation] = (), say: Callable[[str], None] = lambda _: None
    ) -> None:
        """Starts nothing yet.

        Args:
            settings: what to compile for.
            watchers: pass instrumentation.
            say: told the name of every stage as it begins.
        """
        self.settings = settings
        self.timing = Timing()
        self._watchers = [self.timing, *watchers]
        self._say = say

    def run(self, model: Any, level: str, at: dict[str, Callable[[Any], None]] | None = None) -> Any:
        """Compiles `model` to `level`.

        Args:
            model: an nn.Module in eval mode, or an exported program.
            level: one of `LEVELS`.
            at: functions to call with the module at the levels they name, before the next pass changes it.

        Returns:
            The module: of torch-mlir's bindings up to "scheduled", of CIRCT's from "hw".

        Raises:
            GradcamError: the model, the settings or the calibration images cannot be used.
        """
        from gradcam.frontend import import_model

        settings = self.settings
        self._say("import")
        shape, targets, method = settings.input_shape, settings.target_layer, settings.method
        module = import_model(model, shape, targets, method, top_k=settings.top_k)
        for stage in LEVELS[: LEVELS.index(level) + 1]:
            if stage == "quantized":
                self._say("calibrate")
                self._calibrate(module, model)
            if stage in _PIPELINE:
                self._say(stage)
                text = pipeline_for(stage, settings)
                manager = PassManager.parse(f"builtin.module({text})")
                module = manager.run(module, *self._watchers)
            if at and stage in at:
                at[stage](module)
        return module

    def _calibrate(self, module: Any, model: Any) -> None:
        from gradcam.calibration import load_images
        from gradcam.passes.quantize.calibrate import calibrate, input_shape

        images: Any = self.settings.calibration
        if images is None:
            images = getattr(model, "calibration_images", None)
            if images is None:
                reason = "this model brings no calibration images"
                raise GradcamError(f"{reason}; name a folder or an .npy file with --calibration")
            images = images() if callable(images) else images
        loaded = load_images(images, input_shape(module))
        calibrate(module, loaded, self.settings.range_choice, self.settings.percentile)
