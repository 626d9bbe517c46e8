"""What a page shows of an area: the files that `gradcam-synth` wrote into an output folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gradcam.errors import GradcamError


class Timing(msgspec.Struct, frozen=True):
    """The clock that a placed design reaches, in MHz."""

    fmax_mhz: float


class Synthesized(msgspec.Struct, frozen=True):
    """A part of synth.json; see `gradcam.synth.synthesis.synthesize`."""

    family: str
    top: str
    total: dict[str, float]
    modules: dict[str, dict[str, float]]
    part: str | None
    timing: Timing | None


def read_synthesized(folder: Path) -> dict[str, Synthesized]:
    """What `gradcam-synth` wrote into the output folder of a compile, by family.

    Raises:
        GradcamError: a file of it is malformed.
    """
    found = {}
    for path in sorted(folder.glob("synth/*/synth.json")):
        try:
            report = msgspec.json.decode(path.read_bytes(), type=Synthesized)
        except msgspec.DecodeError:
            raise GradcamError(f"{path} is no output of gradcam-synth; run it again") from None
        if any(of.keys() != report.total.keys() for of in report.modules.values()) or not any(report.total.values()):
            raise GradcamError(f"{path} has modules with other resources than the total; run gradcam-synth again")
        found[report.family] = report
    return found
