"""The files of a run, read back: the report, the images, and what the design and the float network made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gradcam.errors import GradcamError
from gradcam.schema.document import read
from gradcam.schema.run import RunReport
from gradcam.view import Maps, heatmap_maps


@dataclass(frozen=True)
class RunFiles:
    """The contents of the output folder of `gradcam-sim`; all arrays have the images along their first axis.

    Attributes:
        report: the report.
        images: uint8, N x H x W x 3.
        logits: in real units; float64, N x K.
        maps: by name, of the design; N each.
        float_logits: of the float network; None where nothing was compared with it.
        float_maps: by name, of the float network; None where it chose another class; empty where nothing was compared.
    """

    report: RunReport
    images: np.ndarray
    logits: np.ndarray
    maps: dict[str, list[Maps]]
    float_logits: np.ndarray | None
    float_maps: dict[str, list[Maps | None]]

    @classmethod
    def read(cls, folder: Path) -> RunFiles:
        """Reads the folder.

        Raises:
            GradcamError: a file is missing, malformed or of another version.
        """
        report = read(folder / "report.json", RunReport)
        if fault := _contradiction(report):
            raise GradcamError(f"{folder / 'report.json'}: {fault}; simulate again")
        images = _array(folder, "image", report, 3, np.uint8)
        if images.shape[3] != 3:
            raise GradcamError(f"{folder / 'image.npy'} has {images.shape[3]} channels, not 3; simulate again")
        compared = report.simulated_quality is not None
        maps, float_maps = dict[str, list[Maps]](), dict[str, list[Maps | None]]()
        for name, how in report.explains.items():
            raw = _array(folder, name, report, 2, np.int32)
            real = _array(folder, f"{name}_float", report, 2, np.float32) if compared else raw[:0]

            def shown(x: np.ndarray, scale: float, how=how) -> Maps:
                return heatmap_maps(x, scale, images.shape[1:3], how.relu, how.normalize, how.eps)

            maps[name] = [shown(x, report.scales[name]) for x in raw]
            if compared and real.shape != raw.shape:
                raise GradcamError(f"{folder} has other sizes of {name}.npy and {name}_float.npy; simulate again")
            float_maps[name] = [None if not np.isfinite(x).all() else shown(x, 1.0) for x in real]
        logits = _array(folder, "logits", report, 1, np.int32) * report.scales["logits"]
        if max(n for image in report.images for n in (image.predicted_class, *image.classes)) >= logits.shape[1]:
            raise GradcamError(f"{folder} has {logits.shape[1]} logits and a class of a larger number; simulate again")
        float_logits = _array(folder, "logits_float", report, 1, np.float32) if compared else None
        if float_logits is not None and float_logits.shape != logits.shape:
            counts = f"{float_logits.shape[1]} logits of the float network, but {logits.shape[1]} of the design"
            raise GradcamError(f"{folder} has {counts}; simulate again")
        return cls(report, images, logits, maps, float_logits, float_maps if compared else {})

    def difference(self, name: str, image: int) -> np.ndarray | None:
        """The device's map without that of the float network, both after ReLU and normalization; None without that."""
        of_float = self.float_maps[name][image] if self.float_maps else None
        return None if of_float is None else self.maps[name][image].low - of_float.low


def _contradiction(report: RunReport) -> str | None:
    """What two members of a report say otherwise of each other; None for nothing."""
    maps, nests = report.explains.keys(), [wait.nest for wait in report.images[0].dram]
    if missing := [name for name in ("logits", *maps) if name not in report.scales]:
        return f"{missing[0]} has no scale"
    for image in report.images:
        if len(image.classes) != len(maps):
            return f"{image.image} has {len(image.classes)} explained classes, but there are {len(maps)} maps"
        if [wait.nest for wait in image.dram] != nests:
            return f"{image.image} has other nests that read from DRAM than the first image"
        lacking = image.class_of_float is None or image.logit_error is None or image.pearson.keys() != maps
        if report.simulated_quality is not None and lacking:
            return f"{image.image} is not compared with the float network, but there is a quality"
    return None


def _array(folder: Path, name: str, report: RunReport, rank: int, kind: type[np.generic]) -> np.ndarray:
    """An array of a run with its images along the first axis.

    Args:
        folder: of the run.
        name: of the file, without its suffix.
        report: of the run.
        rank: dimensions of an image's part.
        kind: type of its elements.

    Raises:
        GradcamError: the file cannot be read, or holds something else.
    """
    path, count = folder / f"{name}.npy", len(report.images)
    try:
        found = np.load(path, allow_pickle=False)
    except OSError as error:
        raise GradcamError(f"cannot read {path}: {error.strerror or 'it is cut off'}; simulate again") from None
    except (ValueError, EOFError):
        raise GradcamError(f"{path} is no array; simulate again") from None
    whole = found[None] if count == 1 and found.ndim == rank else found
    if whole.dtype != kind or whole.ndim != rank + 1 or len(whole) != count or not math.prod(whole.shape):
        wanted = f"{np.dtype(kind).name}, of {count} image{'s' * (count > 1)}"
        raise GradcamError(f"{path} is {found.dtype} of shape {found.shape}, not {wanted}; simulate again")
    return whole
