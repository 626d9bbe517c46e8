"""The output folder of a compile: RTL, memory images, program and report."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from gradcam.bits import Bits
from gradcam.compiler import Compilation, Settings
from gradcam.errors import GradcamError
from gradcam.files import check_replaceable, replace_folder
from gradcam.folder import FLOAT, QUANTIZED, written_files
from gradcam.names import prefixed
from gradcam.origin import origin
from gradcam.package import write_package
from gradcam.page import write_page
from gradcam.passes.infra.analyses import keeping
from gradcam.passes.infra.instrumentation import PrintIR
from gradcam.passes.program.banks import constant_words, hex_lines
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.program import LOAD_FILE, describe_program, dram_file
from gradcam.quality import rounded_weights
from gradcam.report import count_multiplications, count_table_bytes, make_report, report_text
from gradcam.schedule import describe_schedule
from gradcam.schema.document import write
from gradcam.schema.report import PassTime, Report
from gradcam.schema.schedule import schedule_text
from gradcam.timeline import Timeline
from gradcam.trace_events import check_trace_target, write_trace
from gradcam.verdict import warnings

_log = logging.getLogger(__name__)


def check_target(folder: Path, force: bool) -> None:
    """Refuses an output folder that must not be replaced.

    Raises:
        GradcamError: it exists and `force` is false, or it holds files that no compile wrote.
    """
    check_replaceable(folder, written_files(folder), "gradcam-compile")
    if folder.exists() and not force:
        raise GradcamError(f"{folder} exists; choose another folder, or add --force to replace it")


def compile_to_folder(
    model: Any,
    name: str,
    settings: Settings,
    folder: Path,
    force: bool = False,
    print_ir: bool = False,
    trace: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Compiles `model` to SystemVerilog.

    The folder gets `rtl/*.sv`, `mem/*.hex`, with weights in DRAM `mem/*.bin`, `ir/quantized.mlirbc` (the input
    of the integer reference), `ir/float.mlirbc` (the float network), `program.json` (every nest, buffer and stream),
    `schedule.json` (the choices of the schedule), `report.json`, `report.txt`, `report.html`, and the files of
    `gradcam.package` for other tools. It is written whole or not at all.

    Args:
        model: an nn.Module in eval mode, or an exported program.
        name: the model's name in the report.
        settings: what to compile for.
        folder: where to write.
        force: replace a folder that exists.
        print_ir: also write `ir/NN-pass.mlir` after every pass.
        trace: also write the schedule to this file; see `gradcam.trace_events`.
        say: called with the name of every stage as it begins.

    Returns:
        The report.

    Raises:
        GradcamError: folder or trace must not be replaced or cannot be written, or the model cannot be compiled.
    """
    check_target(folder, force)
    if trace is not None:
        check_trace_target(trace, [folder], force)
    with replace_folder(folder) as work, keeping():
        for part in ("rtl", "mem", "ir"):
            (work / part).mkdir()
        compilation = Compilation(model, settings, [PrintIR(directory=work / "ir")] if print_ir else [], say)
        simplified = compilation.to("simplified").operation.clone()
        quantized = compilation.to("quantized").operation.clone()
        quality, rounding = compilation.quality(simplified, quantized), list(rounded_weights(simplified, quantized))
        for file, module in ((FLOAT, simplified), (QUANTIZED, quantized)):
            with (work / file).open("wb") as stream:
                module.write_bytecode(stream)
        scheduled = ScheduledProgram.of(compilation.to("scheduled"))
        memories = write_memories(scheduled, work, settings.name)
        program = describe_program(scheduled, quantized, memories, compilation.preprocessing, settings.name)
        schedule = describe_schedule(scheduled)
        hardware = compilation.to("hw")
        multiplications, tables = count_multiplications(hardware), count_table_bytes(hardware)
        header = origin(name, program.core.fingerprint, settings)
        program = replace(program, rtl=write_rtl(compilation.to("verilog"), work / "rtl", header))
        passes = [PassTime(t.name, round(t.seconds, 4)) for t in compilation.timing.times]
        bits = Bits.of(settings)
        report = make_report(
            name, settings.pe, quantized, program, multiplications, passes, rounding, quality, tables, bits
        )
        write(work / "program.json", program)
        write_package(work, program)
        (work / "schedule.json").write_text(schedule_text(schedule), encoding="utf-8")
        write(work / "report.json", report)
        (work / "report.txt").write_text(report_text(report, program, schedule), encoding="utf-8")
        write_page(work)
        if trace is not None:  # last: it is no part of the folder, which a fault removes
            write_trace(trace, program, {f"schedule of {name}": Timeline.of(program)})
    for warning in warnings(report):
        _log.warning(warning)
    return report


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_memories(scheduled: ScheduledProgram, work: Path, design: str | None = None) -> dict[str, str]:
    """Writes the contents of a scheduled program's constant banks and DRAM.

    Args:
        scheduled: the level-4 program.
        work: the output folder.
        design: the name of the design; None where it has none.

    Returns:
        SHA-256 of the files by their paths, relative to the folder `work`.
    """
    files = []
    with scheduled.module.context:
        for name, words in constant_words(scheduled.banks, scheduled.constants).items():
            bank = scheduled.banks[name]
            if bank.loaded:
                continue
            for file, contents in bank.images(words).items():
                files.append(prefixed(design, file))
                (work / files[-1]).write_text(hex_lines(contents, bank.bits), encoding="ascii")
        if weight_stream := scheduled.weight_stream:
            files.append(prefixed(design, dram_file(weight_stream)))
            (work / files[-1]).write_bytes(weight_stream.contents(scheduled.constants))
        if scheduled.weight_load:
            files.append(prefixed(design, LOAD_FILE))
            (work / files[-1]).write_bytes(scheduled.load_image)
    return {file: _sha256(work / file) for file in files}


def write_rtl(design: Any, folder: Path, header: str = "") -> dict[str, str]:
    """Writes SystemVerilog, one file per module; CIRCT writes them.

    Args:
        design: the level-5 module after gradcam-sv-pipeline.
        folder: where to write.
        header: lines of comment in front of every file.

    Returns:
        SHA-256 of the files by their paths, relative to the folder around `folder`, which is rtl.
    """
    from pycde import circt

    with design.context:
        circt.export_split_verilog(design, str(folder))
    files = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".sv":
            path.write_text(header + path.read_text(encoding="utf-8"), encoding="utf-8")
            files[f"rtl/{path.name}"] = _sha256(path)
        else:
            path.unlink()
    return files
