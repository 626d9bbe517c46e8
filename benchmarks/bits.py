"""What more bits than 8 cost: `python benchmarks/bits.py [MODEL] [--target-layer layer3] [--bits 9-9-8 12-12-12]`.

A model is compiled with activations, gradients and weights of each number of bits, with and without two products per
DSP slice where these fit one, and mapped by `gradcam-synth`. The table has cycles, LUTs, flip-flops, DSP slices, block
RAMs and bytes on chip. Nothing is asked of them: it fails when a design does not compile.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from area import COUNTED, MODEL
from overheads import aligned

from gradcam.bits import Bits
from gradcam.command import run
from gradcam.compiler import Settings
from gradcam.errors import GradcamError
from gradcam.frontend import load_model
from gradcam.output import compile_to_folder
from gradcam.progress import stages
from gradcam.synth import synthesize

#: Activations, gradients and weights: the default, what costs little, what suffices at every depth, and two passes.
CHOICES = ("8-8-8", "9-9-8", "10-10-8", "12-12-12", "8-16-8")


@dataclass(frozen=True)
class Cost:
    """What a design takes.

    Attributes:
        bits: of activations, gradients and weights.
        packed: two products per DSP slice.
        cycles: of a run, and of its explanation.
        explanation: the part of the explanation.
        bytes: of memories on chip.
        counts: by resource.
    """

    bits: Bits
    packed: bool
    cycles: int
    explanation: int
    bytes: int
    counts: Mapping[str, float]

    @property
    def name(self) -> str:
        """The bits, as `--bits` takes them."""
        return "-".join(map(str, asdict(self.bits).values()))


def bits_named(text: str) -> Bits:
    """Bits as `activations-gradients-weights`.

    Raises:
        GradcamError: the text has another form, or a number is not possible.
    """
    if (found := re.fullmatch(r"(\d+)-(\d+)-(\d+)", text, re.ASCII)) is None:
        raise GradcamError(f"bits are activations-gradients-weights, such as {CHOICES[1]}, got '{text}'")
    return Bits(*map(int, found.groups()))


def costs(model: Any, settings: Settings, choices: Sequence[Bits], family: str) -> Iterator[Cost]:
    """The costs of a model with each number of bits, and packed where that is possible."""
    with stages("bits") as say, tempfile.TemporaryDirectory(prefix="gradcam-bits-") as temporary:
        for bits in choices:
            for packed in (False, True)[: 1 + bits.packs()]:
                name = "-".join(map(str, asdict(bits).values())) + packed * "-packed"
                folder = Path(temporary) / name

                def tell(step: str, name: str = name) -> None:
                    say(f"{name}, {step}")

                chosen = replace(settings, **asdict(bits), dsp_packing=packed)
                report = compile_to_folder(model, MODEL, chosen, folder, say=tell)
                counts = synthesize(folder, family, say=tell)["total"]
                memory = sum(report.memory_bytes.values())
                yield Cost(bits, packed, report.cycles.total, report.cycles.explanation, memory, counts)


def table(found: Sequence[Cost]) -> str:
    """A Markdown table that is aligned for reading, too."""
    head = ["activations-gradients-weights", "packed", "cycles", "of the explanation"]
    lines = [[*head, *(f"{c}s" for c in COUNTED), "bytes on chip"]]
    for cost in found:
        numbers = [f"{cost.counts[c]:,.1f}".removesuffix(".0") for c in COUNTED]
        row = [cost.name, "yes" if cost.packed else "no", f"{cost.cycles:,}", f"{cost.explanation:,}"]
        lines.append([*row, *numbers, f"{cost.bytes:,}"])
    return "\n".join(aligned(lines))


def _measure(options: argparse.Namespace) -> None:
    settings = Settings(options.target_layer, options.method, pe=options.pe, family=options.family, validate=False)
    choices = [bits_named(text) for text in options.bits]
    print(table(list(costs(load_model(options.model), settings, choices, options.family))))


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="bits", description="Area and cycles with more bits.")
    parser.add_argument("model", nargs="?", default=MODEL, help=f"as gradcam-compile takes it (default: {MODEL})")
    parser.add_argument("--target-layer", metavar="PATH", default="layer3", help="default: layer3")
    parser.add_argument("--method", default="gradcam", help="default: gradcam")
    parser.add_argument("--pe", metavar="OCxIC", default="16x16", help="default: 16x16")
    parser.add_argument("--family", default="xcup", help="as gradcam-synth takes it (default: xcup)")
    parser.add_argument("--bits", nargs="+", metavar="A-G-W", default=CHOICES, help=f"default: {' '.join(CHOICES)}")
    options = parser.parse_args(argv)
    return run("bits", lambda: _measure(options))


if __name__ == "__main__":
    sys.exit(main())
