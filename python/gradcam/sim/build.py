"""Compiles the RTL of an output folder into an executable, DIR/sim/simulator, once per state of the RTL."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.files import check_replaceable, replace_folder
from gradcam.folder import SIMULATOR_FILES
from gradcam.sim.header import design_header, verilator_config
from gradcam.verilator import Toolchain, find_toolchain

HARNESS = Path(__file__).parent / "harness.cpp"
HEADERS = tuple(Path(__file__).parent / name for name in ("dram.h", "recorder.h"))

VERILATOR_FLAGS = ("-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-Wall", "-Wno-fatal", "--quiet")

#: Make variables for g++. FAST is what runs every cycle, SLOW what runs once, GLOBAL Verilator's own library. On a
#: 16x16 array -O3 was no faster than -O2; -march=native gained 12 %, but would tie the executable to this machine.
OPTIMIZATION = {"OPT_FAST": "-O2", "OPT_SLOW": "-O0", "OPT_GLOBAL": "-O1"}

#: A design of less C++ than SMALL bytes is one unit for g++, which otherwise reads the headers once per file: 1.1 MB
#: took 4 s instead of 10 s. Its simulation with -O1 was as fast as with -O2.
SMALL = 1_500_000
OPTIMIZATION_OF_SMALL = OPTIMIZATION | {"OPT_FAST": "-O1", "VM_PARALLEL_BUILDS": "0"}


def build(folder: Path | str | Design) -> Path:
    """Makes the simulator of a compile's output folder, or finds it there from an earlier call.

    Args:
        folder: the output folder, or the design loaded from it.

    Returns:
        The executable, in `sim/` of the folder; Verilator's warnings are in `build.log` beside it.

    Raises:
        GradcamError: the folder is not a compile's output, Verilator, make or g++ is missing, or one of them failed.
    """
    design = Design.load(folder)
    target = design.folder / "sim"
    key = _key(design)
    if _built(target, key):
        return target / "simulator"
    check_replaceable(target, SIMULATOR_FILES, "the simulator")
    toolchain = find_toolchain()
    # Built elsewhere: make takes no folder with a space in its path.
    with tempfile.TemporaryDirectory(prefix="gradcam-sim-") as temporary:
        work = Path(temporary)
        log = _verilate(design, toolchain, work)
        _compile(toolchain, work)
        with replace_folder(target) as output:
            shutil.copy2(work / "obj" / "Vdesign", output / "simulator")
            (output / "build.log").write_text(log, encoding="utf-8")
            (output / "key").write_text(key, encoding="utf-8")
    return target / "simulator"


def lint(folder: Path | str | Design) -> str:
    """Verilator's warnings about the RTL of an output folder with -Wall, "" for none.

    Raises:
        GradcamError: as `build`.
    """
    design = Design.load(folder)
    with tempfile.TemporaryDirectory(prefix="gradcam-lint-") as temporary:
        return _verilate(design, find_toolchain(), Path(temporary), "--lint-only")


def _built(target: Path, key: str) -> bool:
    stored = target / "key"
    return (target / "simulator").is_file() and stored.is_file() and stored.read_bytes() == key.encode()


def _key(design: Design) -> str:
    """Changes with whatever the executable depends on."""
    state = hashlib.sha256()
    flags = (VERILATOR_FLAGS, OPTIMIZATION, SMALL, OPTIMIZATION_OF_SMALL)
    for part in (str(flags), platform.platform(), design_header(design.program)):
        state.update(part.encode())
    for path in (HARNESS, *HEADERS, *design.rtl_files):
        state.update(path.name.encode())
        state.update(_read(path))
    state.update(verilator_config(design.program).encode())
    return state.hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise GradcamError(f"cannot read {path}: {error.strerror}") from error


def _verilate(design: Design, toolchain: Toolchain, work: Path, *flags: str) -> str:
    """Translates the RTL into C++ in `work`/obj and returns the warnings."""
    (work / "design.h").write_text(design_header(design.program), encoding="utf-8")
    (work / "design.vlt").write_text(verilator_config(design.program), encoding="utf-8")
    for source in (HARNESS, *HEADERS):
        shutil.copy2(source, work / source.name)
    (work / "rtl").mkdir()
    for path in design.rtl_files:  # copies, so that warnings and make see short names without spaces
        (work / "rtl" / path.name).write_bytes(_read(path))
    result = toolchain.run(
        [
            toolchain.verilator,
            *(flags or ("--cc", "--exe", HARNESS.name, "-CFLAGS", "-std=c++17")),
            *VERILATOR_FLAGS,
            *("--top-module", design.program.top, "--prefix", "Vdesign", "--Mdir", "obj", "design.vlt"),
            *(f"rtl/{path.name}" for path in design.rtl_files),
        ],
        work,
    )
    _check(result, "Verilator cannot translate the RTL")
    return result.stdout


def _compile(toolchain: Toolchain, work: Path) -> None:
    command = toolchain.make_command(work / "obj" / "Vdesign.mk", "Vdesign", **optimization(work / "obj"))
    _check(toolchain.run(command, work), f"{toolchain.cxx} cannot compile the simulator")


def optimization(folder: Path) -> dict[str, str]:
    """Make variables for the C++ that Verilator wrote into a folder."""
    small = sum(path.stat().st_size for path in folder.glob("*.cpp")) < SMALL
    return OPTIMIZATION_OF_SMALL if small else OPTIMIZATION


def _check(result: subprocess.CompletedProcess[str], message: str) -> None:
    """Raises with the first error line of the output when a program failed."""
    if result.returncode:
        lines = result.stdout.splitlines()
        errors = [line for line in lines if "error" in line.lower()] or lines[-1:] or ["no output"]
        raise GradcamError(f"{message}: {errors[0].strip()}")
