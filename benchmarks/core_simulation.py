"""Simulates `gradcam_core` of a compile's output folder with cocotb: builds it, plays a script, gives back the log."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cocotb_tools.config
import numpy as np
from cocotb_tools.runner import get_runner

from gradcam.core.driver import image_beats
from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.sim.build import optimization
from gradcam.sim.header import waiver_lines
from gradcam.verilator import find_toolchain

SIMULATORS = ("verilator", "icarus")


@dataclass(frozen=True)
class Played:
    """What a script gave.

    Attributes:
        log: entries of the steps, see `core_bench.py`.
        cycles: from the first to the last.
    """

    log: list[dict[str, Any]]
    cycles: int

    def of(self, step: str) -> list[dict[str, Any]]:
        """The entries of one kind."""
        return [entry for entry in self.log if entry["step"] == step]

    @property
    def results(self) -> list[list[int]]:
        """The words of every result, in order."""
        return [entry["words"] for entry in self.of("result")]


def build(folder: Path, simulator: str, work: Path) -> None:
    """Builds the simulation of a folder's core in `work`.

    Raises:
        GradcamError: the simulator is missing or cannot build it.
    """
    top, sources = _top(folder), sorted((folder / "rtl").glob("*.sv"))
    if simulator == "verilator":
        _verilate(top, sources, work)
    else:
        if shutil.which("iverilog") is None:
            raise GradcamError("Icarus Verilog is not installed: iverilog is not on PATH")
        command = ["iverilog", "-g2012", "-s", top, "-o", work / "sim.vvp", "-f", work / "cmds.f", *sources]
        (work / "cmds.f").write_text("+timescale+1ns/1ps\n")
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if done.returncode:
            raise GradcamError(f"iverilog cannot build the core: {(done.stderr or done.stdout).splitlines()[0]}")


def _top(folder: Path) -> str:
    """The module of a folder's core."""
    return Design.load(folder).program.core.top


def _verilate(top: str, sources: Sequence[Path], work: Path) -> None:
    """As cocotb's runner builds, but with only the ports of the core public, so that the rest is optimized."""
    toolchain, config = find_toolchain(), work / "core.vlt"
    lines = ["`verilator_config", f'public_flat_rw -module "{top}" -port "*"']
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    library = cocotb_tools.config.libs_dir
    main = cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"
    link = f"-Wl,-rpath,{library} -L{library} -lcocotbvpi_verilator"
    done = toolchain.run(
        [
            *(toolchain.verilator, "-cc", "--exe", "-Mdir", work, "--top-module", top, "--vpi", "--prefix", "Vtop"),
            *("-o", top, "-LDFLAGS", link, "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert"),
            *("--timescale", "1ns/1ps", "-Wno-fatal", "-Wno-lint", "--quiet", config, main, *sources),
        ],
        work,
    )
    if not done.returncode:
        done = toolchain.run(toolchain.make_command(work / "Vtop.mk", **optimization(work)), work)
    if done.returncode:
        raise GradcamError(f"Verilator cannot build the core: {done.stdout.strip().splitlines()[-1]}")


def lint(folder: Path) -> str:
    """Verilator's warnings about the core with -Wall, "" for none."""
    toolchain = find_toolchain()
    with tempfile.TemporaryDirectory(prefix="gradcam-lint-") as temporary:
        config = Path(temporary) / "core.vlt"
        config.write_text("\n".join(["`verilator_config", *waiver_lines()]) + "\n", encoding="utf-8")
        sources = sorted((folder / "rtl").glob("*.sv"))
        flags = ("--lint-only", "-Wall", "-Wno-fatal", "--quiet", "--top-module", _top(folder))
        return toolchain.run([toolchain.verilator, *flags, config, *sources], Path(temporary)).stdout


def play(
    folder: Path,
    steps: Sequence[dict[str, Any]],
    images: np.ndarray,
    build_folder: Path,
    simulator: str = "verilator",
    seed: int = 0,
    pause: bool = False,
    limit: int = 10_000_000,
    poll: int = 10,
) -> Played:
    """Plays a script on a built core.

    Args:
        folder: the compile's output folder.
        steps: what to do; see the functions `do_...` of `core_bench.py`.
        images: int8 (n, C, H, W).
        build_folder: where `build` has built.
        simulator: the one that it was built for.
        seed: of the random waiting.
        pause: whether every channel waits at random.
        limit: cycles after which a step has failed.
        poll: cycles between two reads of a register that is waited for.

    Raises:
        GradcamError: the bench failed; its output is in the message.
    """
    program = Design.load(folder).program
    with tempfile.TemporaryDirectory(prefix="gradcam-core-") as temporary:
        work = Path(temporary)
        np.save(work / "images.npy", image_beats(images, program.inputs[0].lanes, program.core.image_bytes))
        script = {"steps": list(steps), "images": str(work / "images.npy"), "log": str(work / "log.json")}
        script |= {"seed": seed, "pause": pause, "limit": limit, "poll": poll}
        script["resident"] = program.load is not None
        script |= {"weights": str((folder / program.dram.file).resolve()) if program.dram else ""}
        (work / "script.json").write_text(json.dumps(script), encoding="utf-8")
        runner = get_runner(simulator)
        environment = {"GRADCAM_SCRIPT": str(work / "script.json"), "PYTHONWARNINGS": "ignore"}
        environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        log = work / "output.txt"
        try:
            results = runner.test(
                hdl_toplevel=program.core.top,
                test_module="core_bench",
                build_dir=build_folder,
                test_dir=folder,
                results_xml=str(work / "results.xml"),
                extra_env=environment,
                log_file=log,
                hdl_toplevel_lang="verilog",
            )
            failed = "<failure" in Path(results).read_text(encoding="utf-8")
        except (SystemExit, RuntimeError, subprocess.CalledProcessError):
            failed = True
        if failed or not (work / "log.json").exists():
            text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else "it printed nothing"
            raise GradcamError(f"the bench of {program.core.top} failed:\n{text[-4000:]}")
        found = json.loads((work / "log.json").read_text(encoding="utf-8"))
    return Played(found["log"], found["cycle"])
