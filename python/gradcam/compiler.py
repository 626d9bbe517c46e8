"""The compile driver: a model through every level, as far as asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradcam.dialect.methods import method_fault
from gradcam.errors import GradcamError
from gradcam.passes.instrumentation import Timing
from gradcam.passes.pass_manager import Instrumentation, PassManager
from gradcam.passes.registry import PIPELINES
from gradcam.pe import PE

if TYPE_CHECKING:  # it imports torch
    from gradcam.passes.calibrate import Choice

#: What `emit` can name, in the order in which a model passes through it.
LEVELS = ("gradcam", "simplified", "quantized", "linalg", "affine", "scheduled", "hw", "verilog")

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
        target_layer: module path of the feature map to explain.
        method: one of `gradcam.dialect.methods.METHODS`.
        pe: the processing-element array, OCxIC.
        calibration: a folder of images, an .npy file or an iterable of images; None takes the model's own.
        range_choice: how a range is chosen from the calibration statistics: "mse", "percentile" or "max".
        percentile: of the absolute values, for "percentile".
        input_shape: (1, C, H, W); None takes the model's own.

    Raises:
        GradcamError: there is no such method, or the array is not one of powers of two.
    """

    target_layer: str
    method: str = "gradcam"
    pe: str = "16x16"
    calibration: Any = None
    range_choice: Choice = "mse"
    percentile: float = 99.99
    input_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if fault := method_fault(self.method):
            raise GradcamError(fault)
        PE.parse(self.pe)


def pipeline_for(level: str, pe: str) -> str:
    """The passes that lead to `level` from the level before, as pipeline text."""
    text = PIPELINES.get(_PIPELINE[level], _PIPELINE[level])
    for name in ("gradcam-unfold-stem", "convert-gradcam-to-linalg", "gradcam-split-time-space"):
        text = text.replace(name, f"{name}{{pe={pe}}}")
    return text


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
        module = import_model(model, settings.input_shape, settings.target_layer, settings.method)
        for stage in LEVELS[: LEVELS.index(level) + 1]:
            if stage == "quantized":
                self._say("calibrate")
                self._calibrate(module, model)
            if stage in _PIPELINE:
                self._say(stage)
                manager = PassManager.parse(f"builtin.module({pipeline_for(stage, settings.pe)})")
                module = manager.run(module, *self._watchers)
            if at and stage in at:
                at[stage](module)
        return module

    def _calibrate(self, module: Any, model: Any) -> None:
        from gradcam.calibration import load_images
        from gradcam.passes.calibrate import calibrate, input_shape

        images: Any = self.settings.calibration
        if images is None:
            images = getattr(model, "calibration_images", None)
            if images is None:
                reason = "this model brings no calibration images"
                raise GradcamError(f"{reason}; name a folder or an .npy file with --calibration")
            images = images() if callable(images) else images
        loaded = load_images(images, input_shape(module))
        calibrate(module, loaded, self.settings.range_choice, self.settings.percentile)
