"""Runs images through a compiled design: `Simulator`."""

from __future__ import annotations

import contextlib
import math
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gradcam import interrupts
from gradcam.checks import check_type, check_types
from gradcam.classes import requests
from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.schema.program import Cycles, Program
from gradcam.sim.build import build
from gradcam.sim.header import Dump, dumps
from gradcam.sim.recording import read_timelines
from gradcam.timeline import Timeline

#: Seconds between two looks at how far the simulators are.
POLL = 0.2


@dataclass(frozen=True)
class Result:
    """One run of a design.

    Attributes:
        outputs: the data of every output stream, in its shape; int8, int16 or int32.
        nest_cycles: clock cycles of every nest, from its issue to its end.
        cycles: clock cycles by phase; of nests that run side by side, the first one has the
            cycles that the predicted cycles of the others leave.
        seconds: wall time of the run in the simulator.
        buffers: where they were asked for, one array per write of a nest, in the order of `gradcam.sim.header.dumps`.
        timeline: the cycles in which nests ran and waited, where it was asked for.
        load_cycles: clock cycles of the load of weights before the first run; None in a design that loads none.
    """

    outputs: Mapping[str, np.ndarray]
    nest_cycles: list[int]
    cycles: Cycles
    seconds: float
    buffers: list[np.ndarray] = field(default_factory=list)
    timeline: Timeline | None = None
    load_cycles: int | None = None

    @property
    def logits(self) -> np.ndarray:
        """Integer logits, int32, K."""
        return self.outputs["logits"]

    @property
    def heatmap(self) -> np.ndarray | None:
        """The first map, int32, h x w; None when the design explains nothing."""
        return next(iter(self.heatmaps.values()), None)

    @property
    def heatmaps(self) -> dict[str, np.ndarray]:
        """All maps by name, int32, h x w: target layer by target layer, the classes of each in their order."""
        return {name: value for name, value in self.outputs.items() if name != "logits"}


@dataclass(frozen=True)
class DramModel:
    """The behaviour of the simulated DRAM; by default that of the ideal DRAM of the compiler's prediction.

    Attributes:
        latency: cycles from a request to its first beat; None takes the latency that the compile assumed.
        interval: cycles from one beat to the next at the earliest, the inverse of the bandwidth.
        stall_seed: delays requests and beats at random with this seed; None never does.
        stall: with a seed, the probability per cycle that a request is not taken, and that a beat is not offered.
        fault: number of a beat that is answered with an error; None for none.
    """

    latency: int | None = None
    interval: int = 1
    stall_seed: int | None = None
    stall: float = 0.5
    fault: int | None = None

    def __post_init__(self) -> None:
        check_types(self, str)
        if (self.latency is not None and self.latency < 1) or self.interval < 1:
            raise GradcamError("a DRAM takes 1 cycle or more to its first beat, and from one beat to the next")
        if not 0 <= self.stall < 1:
            raise GradcamError(f"a stall probability must be from 0 to less than 1, got {self.stall}")


def check_dram(dram: DramModel, program: Program) -> None:
    """Refuses the behaviour of a DRAM that the design does not have.

    Raises:
        GradcamError: there is no DRAM.
    """
    if program.dram is None and dram != DramModel():
        raise GradcamError("the design has all its weights on chip, so there is no DRAM to set up")


class Simulator:
    """The design of a compile's output folder, ready to run in Verilator.

    Args:
        folder: the output folder, or the design loaded from it.
        verify: compares memory images and RTL with the compile's checksums first.

    Raises:
        GradcamError: the folder is not a compile's output, one of its files is missing, truncated or changed, or the
            simulator cannot be built.
    """

    def __init__(self, folder: Path | str | Design, verify: bool = True) -> None:
        self.design = Design.load(folder)
        if verify:
            self.design.verify()
        self.executable = build(self.design)

    @property
    def program(self) -> Program:
        """The program of the design."""
        return self.design.program

    def run(
        self,
        images: np.ndarray,
        cls: int | Sequence[int] = -1,
        stall_seed: int | None = None,
        buffers: bool = False,
        stall: tuple[float, float] = (0.5, 0.5),
        dram: DramModel = DramModel(),
        jobs: int = 1,
        told: Callable[[int], None] = lambda _: None,
        timeline: bool = False,
    ) -> list[Result]:
        """Runs images one after the other, without a reset between them.

        Args:
            images: int8, N x C x H x W.
            cls: class to explain first, for all images or one per image; -1 for the predicted one.
            stall_seed: stalls the streams at random with this seed; None never stalls.
            buffers: reads every buffer out of the design's memories after the nest that writes it.
            stall: with a seed, the probability per cycle that an input has nothing to offer, and that an output is
                not taken.
            dram: the DRAM, where the design has one.
            jobs: simulators side by side, each of which runs a part of the images; random stalls differ from part to
                part.
            told: called now and then with the number of images that are done.
            timeline: records the cycles in which nests run and wait, and their weights come from DRAM.

        Raises:
            GradcamError: `jobs` is less than 1, the images do not fit the design, there is no such class, or the design
                misbehaves: it does not end, loses a beat, breaks the protocol of a stream or of AXI4, or a read of the
                DRAM failed.
        """
        images = self._check_images(images)
        classes = requests(cls, len(images), self.program)
        check_type("stall_seed", stall_seed, "int | None")
        check_type("jobs", jobs, "int")
        _check_stall(stall)
        if not isinstance(dram, DramModel):
            raise GradcamError(f"dram must be a DramModel, got {dram!r}")
        if not len(images):
            return []
        if jobs < 1:
            raise GradcamError(f"the number of simulators must be at least 1, got {jobs}")
        parts = np.array_split(np.arange(len(images)), min(jobs, len(images)))
        with tempfile.TemporaryDirectory(prefix="gradcam-run-") as temporary:
            folders = [Path(temporary) / str(number) for number in range(len(parts))]
            commands = []
            for number, (folder, part) in enumerate(zip(folders, parts, strict=True)):
                folder.mkdir()
                (folder / "runs").write_bytes(b"".join(self._encode(images[i], classes[i]) for i in part))
                options = [str(self._limit(stall if stall_seed is not None else (0, 0), dram))]
                if stall_seed is not None:
                    options += ["--stall", str(stall_seed + number), *map(str, stall)]
                if buffers:
                    options += ["--buffers", str(folder / "buffers")]
                if timeline:
                    options += ["--timeline", str(folder / "timeline")]
                options += self._dram_options(dram)
                commands.append([str(self.executable), str(folder / "runs"), str(folder / "results"), *options])
            self._execute(commands, lambda: told(sum(map(self._count, folders))))
            return [result for folder in folders for result in self._results(folder, buffers, timeline)]

    def _check_images(self, images: np.ndarray) -> np.ndarray:
        height, width, channels = self.program.inputs[0].shape
        images = np.asarray(images)
        if images.dtype != np.int8 or images.ndim != 4 or images.shape[1:] != (channels, height, width):
            expected = f"N x {channels} x {height} x {width}"
            raise GradcamError(f"images must be int8 {expected}, got {images.dtype} {images.shape}")
        return images

    def _encode(self, image: np.ndarray, cls: int) -> bytes:
        """A run as harness.cpp reads it: ports, then beats."""
        return np.array([cls] * len(self.program.ports), "<i8").tobytes() + image.transpose(1, 2, 0).tobytes()

    def _dram_options(self, dram: DramModel) -> list[str]:
        check_dram(dram, self.program)
        if self.program.dram is None:
            return []
        latency = self.program.dram.latency if dram.latency is None else dram.latency
        options = ["--dram", str(self.design.folder / self.program.dram.file), str(latency), str(dram.interval)]
        if dram.stall_seed is not None:
            options += ["--dram-stall", str(dram.stall_seed), str(dram.stall)]
        return options if dram.fault is None else [*options, "--dram-fault", str(dram.fault)]

    def _dram_beats(self) -> int:
        """Beats of the whole DRAM, no fewer than a run reads."""
        dram = self.program.dram
        return (self.design.folder / dram.file).stat().st_size * 8 // dram.width if dram else 0

    def _limit(self, stall: tuple[float, float], dram: DramModel) -> int:
        """The cycles after which a run is aborted: four times the prediction, and the longest stalls of every beat."""
        predicted = self.program.cycles.total
        slowest = max(stall)
        beats = sum(s.beats for s in self.program.streams)
        reads = self._dram_beats() * (dram.interval + (dram.latency or 0)) / (1 - dram.stall)
        return 4 * predicted + 1000 + math.ceil(4 * (beats / (1 - slowest) + reads))

    def _execute(self, commands: Sequence[Sequence[str]], tell: Callable[[], None]) -> None:
        """Runs simulators side by side; the first that fails ends the others."""
        pipe = subprocess.PIPE
        # The RTL names its memory images relative to the output folder.
        options = {"cwd": self.design.folder, "stdout": pipe, "stderr": pipe}
        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(interrupts.running(command, **options)) for command in commands]
            for child in children:
                while _runs(child):
                    self._check_children(children)
                    tell()
            self._check_children(children)

    def _check_children(self, children: Sequence[subprocess.Popen[str]]) -> None:
        for child in children:
            if child.poll():
                stdout, stderr = child.communicate()
                lines = (stderr + stdout).strip().splitlines() or [f"exit code {child.returncode}"]
                raise GradcamError(f"simulation of {self.design.folder} failed: {lines[0]}")

    @property
    def _layout(self) -> np.dtype:
        """A run's results, as harness.cpp writes them."""
        return np.dtype(
            [(s.name, s.dtype, s.shape) for s in self.program.outputs]
            + [("nest cycles", "<u8", (len(self.program.nests),)), ("cycles", "<u8"), ("wall seconds", "<f8")]
        )

    @property
    def _load(self) -> np.dtype:
        """What harness.cpp writes before the first run: cycles and checksum of a load of weights, if there is one."""
        return np.dtype([("cycles", "<u8"), ("checksum", "<u8")] if self.program.load else [])

    def _count(self, folder: Path) -> int:
        """The runs whose results are in a folder."""
        results = folder / "results"
        size = results.stat().st_size if results.exists() else 0
        return max(0, size - self._load.itemsize) // self._layout.itemsize

    def _results(self, folder: Path, buffers: bool, timeline: bool) -> list[Result]:
        raw = (folder / "results").read_bytes()
        records = np.frombuffer(raw, self._layout, offset=self._load.itemsize)
        data = (folder / "buffers").read_bytes() if buffers else b""
        read = _split_buffers(data, dumps(self.program), len(records)) if data else [[]] * len(records)
        results = [self._result(record, own) for record, own in zip(records, read, strict=True)]
        if self.program.load:
            load = np.frombuffer(raw, self._load, count=1)[0]
            if load["checksum"] != self.program.load.checksum:
                loaded, known = (f"{n:#010x}" for n in (int(load["checksum"]), self.program.load.checksum))
                raise GradcamError(
                    f"the weights that were loaded have the checksum {loaded}, the compiled ones {known}"
                )
            results = [replace(result, load_cycles=int(load["cycles"])) for result in results]
        if not timeline:
            return results
        times = read_timelines((folder / "timeline").read_bytes(), self.program, [r.nest_cycles for r in results])
        return [replace(result, timeline=found) for result, found in zip(results, times, strict=True)]

    def _result(self, record: np.void, buffers: list[np.ndarray]) -> Result:
        nest_cycles = record["nest cycles"].tolist()
        cycles = dict.fromkeys(("load", "inference", "explanation", "store"), 0)
        nests, issue_groups = self.program.nests, self.program.issue_groups
        for group in dict.fromkeys(issue_groups):
            first, *others = (number for number in range(len(nests)) if issue_groups[number] == group)
            for number in others:
                cycles[nests[number].phase] += nests[number].cycles
            added, busy = sum(nests[number].cycles for number in others), dict[str, int]()
            for number in (first, *others):
                busy[nests[number].engine] = busy.get(nests[number].engine, 0) + nest_cycles[number]
            cycles[nests[first].phase] += max(busy.values()) - added
        total = Cycles(**cycles, total=int(record["cycles"]))
        outputs = {s.name: record[s.name].copy() for s in self.program.outputs}
        return Result(outputs, nest_cycles, total, float(record["wall seconds"]), buffers)


def _check_stall(stall: Any) -> None:
    """Refuses what is no pair of probabilities below 1."""
    if not isinstance(stall, Sequence) or isinstance(stall, str) or len(stall) != 2:
        raise GradcamError(f"stall must be two probabilities, of the inputs and of the outputs, got {stall!r}")
    for probability in stall:
        check_type("a stall probability", probability, "float")
        if not 0 <= probability < 1:
            raise GradcamError(f"stall probabilities must be from 0 to less than 1, got {stall}")


def _runs(child: subprocess.Popen[str]) -> bool:
    """Waits for a process for at most `POLL` seconds; whether it still runs then."""
    try:
        child.wait(POLL)
    except subprocess.TimeoutExpired:
        return True
    return False


def _split_buffers(data: bytes, written: Sequence[Dump], runs: int) -> list[list[np.ndarray]]:
    sizes = [d.words * d.word_bytes for d in written]
    if len(data) != runs * sum(sizes):
        raise GradcamError("the design did not run every nest once, so its buffers are not all there")
    result, at = [], 0
    for _ in range(runs):
        buffers = []
        for dump, size in zip(written, sizes, strict=True):
            buffers.append(_decode(data[at : at + size], dump))
            at += size
        result.append(buffers)
    return result


def _decode(data: bytes, dump: Dump) -> np.ndarray:
    """Decodes a buffer from its words, without the padding bits of the simulator's type."""
    words, bits, dtype = np.frombuffer(data, np.uint8), dump.buffer.element_bits, dump.buffer.dtype
    words = words.reshape(dump.words, dump.word_bytes)
    if bits != 8 * dtype.itemsize:
        each = np.unpackbits(words, axis=1, bitorder="little")[:, : dump.lanes * bits].reshape(-1, bits)
        place = 1 << np.arange(bits)
        place[1:] *= np.where(np.arange(1, bits) == bits - 1, -1, 1)  # the sign; a single bit has none
        elements = (each @ place).astype(dtype)
    else:
        elements = words[:, : dump.lanes * dtype.itemsize].copy().view(dtype).reshape(-1)
    return elements[: math.prod(dump.buffer.shape)].reshape(dump.buffer.shape)
