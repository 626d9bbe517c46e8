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
from gradcam.passes.infra.instrumentation import PrintIR
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
    with replace_folder(folder) as work:
        for part in ("rtl", "mem", "ir"):
            (work / part).mkdir()
        compilation = Compilation(settings, [PrintIR(directory=work / "ir")] if print_ir else [], say)
        facts: dict[str, Any] = {}

        def quantized(module: Any) -> None:
            with (work / "ir" / "quantized.mlirbc").open("wb") as file:
                module.operation.write_bytecode(file)
            facts["quantized"] = module.operation.clone()

        def scheduled(module: Any) -> None:
            facts["program"] = describe_program(module)
            write_memories(module, work, facts["program"])
            facts["report"] = make_report(name, settings, facts["quantized"], module, facts["program"])

        def hardware(module: Any) -> None:
            facts["report"]["multiplications"] = count_multiplications(module)

        at = {"quantized": quantized, "scheduled": scheduled, "hw": hardware}
        design = compilation.run(model, "verilog", at)
        write_rtl(design, work / "rtl", facts["program"])
        report = facts["report"]
        report["passes"] = [{"name": t.name, "seconds": round(t.seconds, 4)} for t in compilation.timing.times]
        write_json(work / "program.json", facts["program"])
        write_package(work, facts["program"])
        (work / "schedule.json").write_text(schedule_text(report["schedule"]), encoding="utf-8")
        write_json(work / "report.json", report)
        (work / "report.txt").write_text(report_text(report), encoding="utf-8")
    return report


def write_json(path: Path, value: Any) -> None:
    """Writes a file such as program.json."""
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_memories(module: Any, work: Path, program: dict[str, Any]) -> None:
    """Writes the contents of a scheduled module's constant banks and DRAM, and their names into its program."""
    from gradcam.passes.program.banks import banks_of, constant_words, hex_lines
    from gradcam.passes.program.nest import nests
    from gradcam.passes.program.tape import read_tape

    with module.context:
        banks = banks_of(module)
        for name, words in constant_words(module).items():
            first = 0
            for number, count in banks[name].parts:
                file = banks[name].image(number)
                (work / file).write_text(hex_lines(words[first : first + count], banks[name].bits), encoding="ascii")
                program["memories"][Path(file).stem] = {"file": file, "sha256": _sha256(work / file)}
                first += count
        if tape := read_tape(module, list(nests(module))):
            file = program["dram"]["file"] = f"mem/{tape.bank.name}.bin"
            (work / file).write_bytes(tape.contents(module))
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
