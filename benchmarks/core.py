"""The core through its interfaces alone: `python benchmarks/core.py [--images 200] [--faults 200] [--pe 16x16]`.

A compiled network runs in cocotb with the models of cocotbext-axi: images back to back, free and with random waiting on
every channel, then faults in random order between good images. Every result is compared with the integer reference. It
fails when a figure is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from core_simulation import SIMULATORS, Played, build, play

from gradcam.classes import explained_classes
from gradcam.command import run
from gradcam.compiler import PLACES, Settings
from gradcam.core.register_map import register_map
from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.faults import Faults
from gradcam.figures import Figure, at_most, table
from gradcam.output import compile_to_folder
from gradcam.progress import stages
from gradcam.reference.integer import run_integer
from gradcam.schema.program import Program
from gradcam.sim.trace import load_quantized

#: Signals of a beat of the DRAM, and the bits of them that a fault inverts.
DRAM_FAULTS = {"rlast": (1,), "rid": (1,), "rresp": (1, 2, 3)}

MODEL = "gradcam.models:tinyml_resnet18"


@dataclass(frozen=True)
class Expected:
    """What the log of a script must say.

    Attributes:
        step: the kind of entry.
        image: of a result.
        cls: the class that it was asked to explain, -1 for the predicted one.
        packet: how many image packets ended before this image's.
        error: the name of the only bit of ERROR that is set; "" for none.
        certain: it must be there; otherwise it may be.
    """

    step: str
    image: int = 0
    cls: int = -1
    packet: int = 0
    error: str = ""
    certain: bool = True


class Scenario:
    """A script that grows with what is expected of it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.steps: list[dict[str, Any]] = []
        self.expected: list[Expected] = []
        self.packets = 0

    def images(self, images: Sequence[int]) -> None:
        """Back to back; up to ten of them press against the core, which costs the bench time in every cycle."""
        self.steps.append({"do": "images", "images": list(images), "eager": len(images) <= 10})
        for image in images:
            self._result(image)

    def blocked(self, images: Sequence[int]) -> None:
        """Back to back; no result is taken for a long while."""
        self.steps.append({"do": "blocked", "images": list(images), "cycles": 3 * self.program.cycles.total})
        for image in images:
            self._result(image)

    def explain(self, image: int, cls: int) -> None:
        """An image with a class of its own."""
        self.steps.append({"do": "explain", "image": image, "cls": cls})
        self._result(image, cls)

    def start(self, image: int, early: bool) -> None:
        """An image that waits for a start, or the other way round."""
        self.steps.append({"do": "start", "image": image, "early": early})
        self._result(image)

    def move(self, image: int, address: int) -> None:
        """An image during whose run the registers say that the weights are elsewhere."""
        self.steps.append({"do": "move", "image": image, "address": address})
        self._result(image)

    def _result(self, image: int, cls: int = -1, certain: bool = True) -> None:
        self.expected.append(Expected("result", image, cls, self.packets, certain=certain))
        self.packets += 1

    def fault(self, kind: str, image: int, rng: np.random.Generator, classes: int) -> None:
        """One of `fault_kinds`, with an image to go wrong on."""
        beats = self.program.inputs[0].beats
        if kind == "short":
            self._broken(kind, "short_packet", image=image, beats=int(rng.integers(1, beats)))
        elif kind == "long":
            self._broken(kind, "long_packet", image=image, beats=beats + int(rng.integers(1, beats + 2)))
        elif kind == "class_range":
            self._broken(kind, kind, image=image, cls=int(rng.choice([classes, classes + 1, 0xFFFF])))
        elif kind in DRAM_FAULTS:
            self._dram(kind, image, rng)
        elif kind == "start_busy":
            self.steps.append({"do": kind, "image": image})
            self.expected.append(Expected(kind, error=kind))
            self._result(image)
        else:
            after = int(rng.integers(1, self.program.cycles.total + 2 * beats))
            self.steps.append({"do": kind, "image": image, "after": after})
            self._result(image, certain=False)
            self.expected.append(Expected(kind))
            self.packets = 0

    def _dram(self, signal: str, image: int, rng: np.random.Generator) -> None:
        """A beat with a wrong signal; RLAST is 1 too early, or 0 in the last beat, or the burst has a beat too many."""
        fault: dict[str, Any] = {"signal": signal, "bits": int(rng.choice(DRAM_FAULTS[signal]))}
        if signal == "rlast":
            fault |= [{}, {"left": 0}, {"signal": "long", "left": 0}][int(rng.integers(3))]
        after = int(rng.integers(0, self.program.cycles.total // 4))
        self._broken("dram", "dram", image=image, after=after, **fault)

    def unreliable(self, image: int, every: int, faults: Sequence[dict[str, Any]]) -> None:
        """An image during whose run the first of every so many reads of weights has a fault, as long as there are any.

        A fault names the signal, the bits of it that are wrong, and how many beats of the burst follow, at most.
        """
        self._broken("unreliable", "dram", image=image, every=every, faults=list(faults))

    def lost(self, image: int) -> None:
        """An image in whose run a beat of a read is missing, and a reset."""
        self._broken("lost", "dram", image=image)
        self.packets = 0

    def _broken(self, kind: str, error: str, **step: Any) -> None:
        self.steps.append({"do": kind, **step})
        self.expected.append(Expected(kind, error=error))
        self.packets += 1


def fault_kinds(program: Program) -> list[str]:
    """What can go wrong with a design."""
    kinds = ["short", "long", "start_busy", "reset"]
    return kinds + ["class_range"] * bool(program.ports) + [*DRAM_FAULTS] * bool(program.ring)


def faults(program: Program, count: int, images: int, seed: int = 0) -> Scenario:
    """A script of `count` faults in random order, about two good images for three of them between, one at the end."""
    rng, scenario = np.random.default_rng(seed), Scenario(program)
    kinds = fault_kinds(program)
    classes = program.fields["logits"]
    order = rng.permutation(np.resize(kinds, count))
    for kind in order:
        scenario.fault(str(kind), int(rng.integers(images)), rng, classes)
        pick = rng.integers(4)
        if pick < 2:
            scenario.images([int(rng.integers(images))])
        elif pick == 2 and program.ports:
            scenario.explain(int(rng.integers(images)), int(rng.integers(classes)))
    scenario.images([int(i) for i in rng.integers(images, size=2)])
    return scenario


class Reference:
    """The integer reference's results as words of packets."""

    def __init__(self, design: Design, images: np.ndarray) -> None:
        self.module, self._images = load_quantized(design), images
        self._ranks = design.program.core.classes
        self._known: dict[tuple[int, int], list[int]] = {}

    def words(self, image: int, cls: int, packet: int) -> list[int]:
        """The packet of a result; see `Expected`."""
        if (image, cls) not in self._known:
            outputs = run_integer(self.module, self._images[image][None], cls)
            classes = explained_classes(outputs[0][0], cls, self._ranks) if self._ranks else []
            self._known[image, cls] = [*map(int, classes), *(int(v) for o in outputs for v in o.ravel())]
        return [packet, *self._known[image, cls]]


def check(played: Played, expected: Sequence[Expected], reference: Reference) -> None:
    """Demands that a log says what is expected, entry by entry.

    Raises:
        GradcamError: the first entry that does not.
    """
    bits = {f.name: 1 << f.low for r in register_map() if r.name == "ERROR" for f in r.fields}
    entries = iter(played.log)
    entry = next(entries, None)
    for number, want in enumerate(expected):
        words = reference.words(want.image, want.cls, want.packet) if want.step == "result" else None
        if entry is None or entry["step"] != want.step:
            if want.certain:
                raise GradcamError(f"step {number}: {want} did not come; the log goes on with {entry}")
            continue
        if words is not None and entry["words"] != words:
            raise GradcamError(f"step {number}: the result of {want} is {entry['words']}, in the reference {words}")
        if words is None and not _reported(entry, bits.get(want.error, 0)):
            raise GradcamError(f"step {number}: {want} left {entry}")
        entry = next(entries, None)
    if entry is not None:
        raise GradcamError(f"the log goes on with {entry}")


def _reported(entry: dict[str, Any], error: int) -> bool:
    """Whether a fault has set its bit of ERROR and no other, which writing it back cleared."""
    clean = not entry.get("status") and not entry.get("images")
    return entry["errors"] == error and entry["pending"] == int(error != 0) and entry["left"] == 0 and clean


def period(played: Played) -> float:
    """Cycles from result to result."""
    ends = [entry["cycle"] for entry in played.of("result")]
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def _outcome(played: Played | GradcamError, expected: Sequence[Expected], reference: Reference) -> str:
    """ "" when a script went as expected, otherwise the first thing that did not."""
    if isinstance(played, GradcamError):
        return played.message
    try:
        check(played, expected, reference)
    except GradcamError as error:
        return error.message
    return ""


def measure(folder: Path, images: np.ndarray, count: int, fault_count: int, simulator: str, say: Any) -> list[Figure]:
    """The figures of a compiled design on `count` images and `fault_count` faults."""
    design = Design.load(folder)
    program, reference = design.program, Reference(design, images)
    rows = []
    with tempfile.TemporaryDirectory(prefix="gradcam-core-") as temporary:
        say(f"{simulator} builds")
        build(folder, simulator, Path(temporary))

        def played(scenario: Scenario, pause: bool) -> Played | GradcamError:
            limit = 4 * scenario.program.cycles.total * max(1, *(len(s.get("images", [])) for s in scenario.steps))
            options = {
                "simulator": simulator,
                "pause": pause,
                "limit": limit,
                "poll": 100 + scenario.program.cycles.total // 200,
            }
            try:
                return play(folder, scenario.steps, images, Path(temporary), **options)
            except GradcamError as error:
                return error

        say(f"{min(count, 10)} images")
        free = Scenario(program)
        free.images([i % len(images) for i in range(min(count, 10))])
        result, longest = played(free, False), max(free.program.cycles.total, free.program.inputs[0].beats)
        fault = _outcome(result, free.expected, reference)
        rate = period(result) / longest - 1 if isinstance(result, Played) else 1.0
        rows.append(at_most("cycles per image beyond max(load, run)", 0.005, rate, ".5f"))
        for name, scenario in (
            (f"{count} images, random waiting on every channel", _many(program, count, len(images))),
            (f"{fault_count} faults between good images", faults(program, fault_count, len(images))),
        ):
            say(name)
            fault = fault or _outcome(played(scenario, True), scenario.expected, reference)
            rows.append(Figure(name, "as expected", fault or "as expected", not fault))
            fault = ""
    return rows


def _many(program: Program, count: int, images: int) -> Scenario:
    scenario = Scenario(program)
    scenario.images([i % images for i in range(count)])
    return scenario


def _run(options: argparse.Namespace) -> None:
    from gradcam.data import load_test_images, to_input
    from gradcam.frontend import load_model
    from gradcam.numerics import quantize

    with stages("core") as say, tempfile.TemporaryDirectory(prefix="gradcam-core-") as temporary:
        folder = Path(temporary) / "design"
        settings = Settings(options.target_layer, pe=options.pe, weights=options.weights)
        say("compile")
        compile_to_folder(load_model(MODEL), MODEL, settings, folder)
        scale = Design.load(folder).program.scale("image")
        images = quantize(to_input(load_test_images().pixels), scale)
        rows = measure(folder, images, options.images, options.faults, options.simulator, say)
    print(table(rows), end="")
    missed = [GradcamError(f"missed: {row.what}: {row.measured}, asked {row.asked}") for row in rows if not row.ok]
    if missed:
        raise Faults(missed)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="core", description="The core through its interfaces alone, in cocotb.")
    add = parser.add_argument
    add("--images", type=int, default=200, metavar="N", help="with random waiting (default: 200)")
    add("--faults", type=int, default=200, metavar="N", help="between good images (default: 200)")
    add("--pe", default="16x16", metavar="OCxIC", help="default: 16x16")
    add("--target-layer", default="layer4", metavar="PATH", help="default: layer4")
    add("--weights", choices=PLACES, default="onchip", help="default: onchip")
    add("--simulator", choices=SIMULATORS, default=SIMULATORS[0], help=f"default: {SIMULATORS[0]}")
    options = parser.parse_args(argv)
    return run("core", lambda: _run(options))


if __name__ == "__main__":
    sys.exit(main())
