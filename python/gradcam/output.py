"""The output folder of a compile: RTL, memory images, program and report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradcam.compiler import Compilation, Settings
from gradcam.errors import GradcamError
from gradcam.files import check_replaceable, replace_folder
from gradcam.package import TEXTS, write_package
from gradcam.passes.infra.analyses import keeping
from gradcam.passes.infra.instrumentation import PrintIR
from gradcam.passes.program.banks import constant_words, hex_lines
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.program import describe_program
from gradcam.report import count_multiplications, make_report, report_text
from gradcam.schedule import schedule_text

#: All that a compile, and a simulator and a synthesis of it, write there.
FILES = ("rtl", "mem", "ir", "sim", "synth", "program.json", "schedule.json", "report.json", "report.txt", *TEXTS)


def check_target(folder: Path, force: bool) -> None:
    """Refuses an output folder that must not be replaced.

    Raises:
        GradcamError: it exists and `force` is false, or it holds files of others.
    """
    if folder.exists() and not force:
        raise GradcamError(f"{folder} exists; choose another folder, or add --force to replace it")
    check_replaceable(folder, FILES, "gradcam-compile")


def compile_to_folder(
    model: Any,
    name: str,
    settings: Settings,
    folder: Path,
    force: bool = False,
    print_ir: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Compiles `model` to SystemVerilog.

    The folder gets `rtl/*.sv`, `mem/*.hex`, with weights in DRAM `mem/*.bin`, `ir/quantized.mlirbc` (what the integer
    reference runs), `program.json` (every nest, buffer and stream), `schedule.json` (what was chosen), `report.json`,
    `report.txt`, and what `gradcam.package` writes for other tools; it is written whole or not at all.

    Args:
        model: an nn.Module in eval mode, or an exported program.
        name: the model's name in the report.
        settings: what to compile for.
        folder: where to write.
        force: replace a folder that exists.
        print_ir: also write `ir/NN-pass.mlir` after every pass.
        say: told the name of every stage as it begins.

    Returns:
        The report.

    Raises:
        GradcamError: the folder must not be replaced or cannot be written, or the model cannot be compiled.
    """
    check_target(folder, force)
    with replace_folder(folder) as work, keeping():
        for part in ("rtl", "mem", "ir"):
            (work / part).mkdir()
        compilation = Compilation(model, settings, [PrintIR(directory=work / "ir")] if print_ir else [], say)
        quantized = compilation.to("quantized").operation.clone()
        with (work / "ir" / "quantized.mlirbc").open("wb") as file:
            quantized.write_bytecode(file)
        scheduled = ScheduledProgram.of(compilation.to("scheduled"))
        program = describe_program(scheduled)
        write_memories(scheduled, work, program)
        report = make_report(name, settings, quantized, scheduled, program)
        report["multiplications"] = count_multiplications(compilation.to("hw"))
        write_rtl(compilation.to("verilog"), work / "rtl", program)
        report["passes"] = [{"name": t.name, "seconds": round(t.seconds, 4)} for t in compilation.timing.times]
        write_json(work / "program.json", program)
        write_package(work, program)
        (work / "schedule.json").write_text(schedule_text(report["schedule"]), encoding="utf-8")
        write_json(work / "report.json", report)
        (work / "report.txt").write_text(report_text(report), encoding="utf-8")
    return report


def write_json(path: Path, value: Any) -> None:
    """Writes a file such as program.json."""
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_memories(scheduled: ScheduledProgram, work: Path, program: dict[str, Any]) -> None:
    """Writes the contents of a scheduled program's constant banks and DRAM, and their names into its description."""
    with scheduled.module.context:
        for name, words in constant_words(scheduled.banks, scheduled.constants).items():
            bank, first = scheduled.banks[name], 0
            for number, count in bank.parts:
                file = bank.image(number)
                (work / file).write_text(hex_lines(words[first : first + count], bank.bits), encoding="ascii")
                program["memories"][Path(file).stem] = {"file": file, "sha256": _sha256(work / file)}
                first += count
        if tape := scheduled.tape:
            file = program["dram"]["file"] = f"mem/{tape.bank.name}.bin"
            (work / file).write_bytes(tape.contents(scheduled.constants))
            program["memories"][tape.bank.name] = {"file": file, "sha256": _sha256(work / file)}


def write_rtl(design: Any, folder: Path, program: dict[str, Any]) -> None:
    """Writes SystemVerilog, one file per module, and the names of the files into the program; CIRCT writes them."""
    from pycde import circt

    with design.context:
        circt.export_split_verilog(design, str(folder))
    for path in sorted(folder.iterdir()):
        if path.suffix == ".sv":
            program["rtl"][f"rtl/{path.name}"] = _sha256(path)
        else:
            path.unlink()
