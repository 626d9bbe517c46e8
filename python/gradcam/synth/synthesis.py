"""Area and clock of a compiled design: Yosys maps it, nextpnr places and routes it where it knows the family."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.files import check_replaceable, replace_folder
from gradcam.folder import SYNTHESIS_FILES
from gradcam.names import prefixed
from gradcam.page import write_page
from gradcam.schema.program import Bank, Memory, Program
from gradcam.synth import tools
from gradcam.synth.families import FAMILIES, RESOURCES, Family, Part
from gradcam.synth.instances import multipliers_in_fabric, split_instances
from gradcam.synth.output_registers import use_output_registers
from gradcam.synth.report import report_text
from gradcam.synth.tools import Tool, run_logged

#: More placements than anybody waits for.
MOST_SEEDS = 1000

#: Banks of fewer bits may be flip-flops or LUTs.
SMALL = 4096


def synthesize(
    folder: Path | str, family: str, clock: float = 0, seeds: int = 1, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Maps the design of a compile's output folder to an FPGA and writes its resources to DIR/synth/FAMILY.

    The folder's page, report.html, is made again, with the area of the modules.

    Args:
        folder: output folder of a compile.
        family: one of `FAMILIES`.
        clock: the clock in MHz that nextpnr aims at; 0 for 100.
        seeds: placements that nextpnr tries, from different random numbers; the fastest one counts.
        say: called with the name of every step as it begins.

    Returns:
        The contents of synth.json: `family`, `top`, `total` and per module in `modules` the LUTs, LUTs that are
        memories, flip-flops, DSP slices and block RAMs (`RESOURCES`) of all its instances, without those of modules
        inside;
        `banks`: see `bank_figures`; `part` and `timing`: see `timing_figures`, None without place and route.

    Raises:
        GradcamError: the folder is no compile's output or was changed, there is no such family, a tool is missing or
            fails, a memory is not in block RAM, or the design is larger than the part.
    """
    if family not in FAMILIES:
        raise GradcamError(f"there is no family '{family}'; choose one of {', '.join(FAMILIES)}")
    if not 1 <= seeds <= MOST_SEEDS:
        raise GradcamError(f"{seeds} placements can't be tried; choose 1 to {MOST_SEEDS}")
    if not 0 <= clock < math.inf:
        raise GradcamError(f"a clock of {clock:g} MHz can't be aimed at; choose a positive one")
    if FAMILIES[family].part is None and (clock or seeds > 1):
        raise GradcamError(f"{family} is not placed and routed; clock (--clock-mhz) and seeds (--seeds) have no effect")
    design, target = Design.load(folder), FAMILIES[family]
    design.verify()
    yosys, nextpnr = tools.yosys(), tools.nextpnr() if target.part else None
    output = design.folder / "synth" / family
    check_replaceable(output, SYNTHESIS_FILES, "gradcam-synth")
    with replace_folder(output) as work:
        modules = _map(design, target, yosys, work, say)
        if target.part:
            slices = {name: figures["DSP"] for name, figures in modules.items()}
            if fabric := multipliers_in_fabric(slices, target.part.capacity["DSP"], design.program.name):
                say(f"{', '.join(fabric)} in LUTs")
                modules = _map(design, target, yosys, work, say, fabric)
        total = {r: sum(m[r] for m in modules.values()) for r in RESOURCES}
        report = {"family": family, "top": design.program.core.top, "total": total, "modules": modules}
        banks = {**design.program.banks, **packet_banks(design.program)}
        report["banks"] = bank_figures({prefixed(design.program.name, n): bank for n, bank in banks.items()}, modules)
        check_banks(report["banks"])
        report |= {"part": None, "timing": None}
        if target.part and nextpnr:
            check_capacity(total, target.part)
            goal = clock or 100
            report["part"] = target.part.name
            untimed = dict(path for resource, path in target.part.untimed.items() if total[resource])
            report["timing"] = _route(design, target.part, goal, seeds, untimed, nextpnr, work, say)
        (work / "synth.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        (work / "synth.txt").write_text(report_text(report), encoding="utf-8")
    write_page(design.folder)
    return report


def _map(
    design: Design,
    family: Family,
    yosys: Tool,
    work: Path,
    say: Callable[[str], None],
    fabric: Collection[str] = (),
) -> dict[str, dict[str, float]]:
    """Resources by module; leaves a netlist without hierarchy in `work` where it is to be placed.

    Multipliers in `fabric`, by their modules, take no slices.
    """
    place, top, name = work.relative_to(design.folder), design.program.core.top, design.program.name
    sources, instances = split_instances(sorted(design.program.rtl), family.templates, family.slice, name, fabric)
    mapped = work / "instances.v"
    if instances:
        mapped.write_text(instances, encoding="utf-8")
        sources.append(f"{place}/{mapped.name}")
    counting = [f"tee -q -o {place}/stat.json stat -json"]

    def run(commands: Sequence[str], log: str) -> None:
        run_logged(yosys, ["-p", "; ".join(commands)], design.folder, work / log, say)

    commands = [*(f"read_verilog -sv {name}" for name in sources), *mapping(family, top)]
    if family.part:
        netlist = work / "netlist.json"
        run([*commands, f"write_json {place}/netlist.json"], "yosys.log")
        contents = json.loads(netlist.read_text(encoding="utf-8"))
        for module in contents["modules"].values():
            use_output_registers(module)
        netlist.write_text(json.dumps(contents), encoding="utf-8")
        flattening = ["flatten", "clean", f"write_json {place}/netlist.json"]
        run([f"read_json {place}/netlist.json", *counting, *flattening], "flatten.log")
        (work / "flatten.log").unlink()
    else:
        run([*commands, *counting], "yosys.log")
    mapped.unlink(missing_ok=True)
    stat = work / "stat.json"
    modules = json.loads(stat.read_text(encoding="utf-8"))["modules"]
    stat.unlink()
    return module_figures(modules, top, family)


def mapping(family: Family, top: str) -> list[str]:
    """The commands of Yosys that map the design that it has read.

    What block RAMs hold is no matter of area or clock, and is left out before they are mapped: Yosys computes the
    parameters of each block RAM anew, which took more than a third of the time for 200 of them.
    """
    return [
        f"{family.map} -top {top} -run :{family.memories}",
        "memory_unpack t:$mem_v2 a:ram_style=block %i",
        "delete t:$meminit*",
        f"{family.map} -top {top} -run {family.memories}:",
    ]


def module_figures(modules: Mapping[str, Any], top: str, family: Family) -> dict[str, dict[str, float]]:
    """Resources of every module that the top contains, all instances together, from Yosys's `stat -json`."""
    cells = {name.lstrip("\\"): stat["num_cells_by_type"] for name, stat in modules.items()}
    instances = Counter[str]()

    def count(name: str, times: int) -> None:
        instances[name] += times
        for cell, number in cells[name].items():
            if cell.lstrip("\\") in cells:
                count(cell.lstrip("\\"), times * number)

    count(top, 1)
    figures = {}
    for name, times in instances.items():
        figures[name] = dict.fromkeys(RESOURCES, 0)
        for cell, number in cells[name].items():
            for resource, amount in family.resources(cell).items():
                figures[name][resource] += times * number * amount
    return figures


def packet_banks(program: Program) -> dict[str, Bank]:
    """The memories of the core's packet buffers."""
    (image,) = program.inputs
    words = {"image_buffer": image.beats, "result_buffer": program.packet_words}
    bits = {name: size * 8 // words[name] for name, size in program.packet_bytes.items()}
    memories = {n: (Memory(words[n], 1, "block", 0),) for n in words}
    return {f"{n}_memory": Bank(1, bits[n], False, 1, (words[n],), memories[n]) for n in words}


def bank_figures(banks: Mapping[str, Bank], modules: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Per bank its size in `bits`, how many of them are `planned` for block RAM, and the block RAMs that hold it.

    `in block RAM`: whether all that is planned is there. A memory in LUTs has LUT RAM; one in flip-flops has far more
    than the registers of a word and an address for each memory, and of two more words where several reads make one.
    """
    figures = {}
    for name, bank in banks.items():
        width, found = bank.lanes * bank.bits, modules[name]
        planned, other = ([m for m in bank.memories if (m.style == "block") == block] for block in (True, False))
        words = 1 + len(bank.memories) + (2 if bank.reads > 1 else 0)
        registers = words * (width + 32) + sum(m.words * width for m in other)
        is_there = found["block RAM"] > 0 and (found["LUT RAM"] == 0 or bool(other)) and found["FF"] <= registers
        figures[name] = {
            "bits": width * bank.words,
            "planned": sum(m.words * m.lanes for m in planned) * bank.bits,
            "block RAM": found["block RAM"],
            "in block RAM": is_there,
        }
    return figures


def check_banks(banks: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses a design with a large memory outside block RAM; of `SMALL` bits or fewer it may be elsewhere.

    Raises:
        GradcamError: it has one.
    """
    outside = [n for n, b in banks.items() if b["planned"] > SMALL and not b["in block RAM"]]
    if outside:
        sizes = ", ".join(f"{n} ({banks[n]['planned']:,} bits)" for n in outside)
        raise GradcamError(f"not in block RAM: {sizes}; the tool took flip-flops or LUTs")


def check_capacity(total: Mapping[str, float], part: Part) -> None:
    """Refuses a design that is too large for a part, before hours of placing.

    Raises:
        GradcamError: it takes more of a resource than there is.
    """
    over = [f"{math.ceil(total[r]):,} {r}s of {limit:,}" for r, limit in part.capacity.items() if total[r] > limit]
    if over:
        advice = "compile a smaller pe (--pe), or weights (--weights) dram where block RAM is short"
        raise GradcamError(f"too large for {part.name}: it takes {', '.join(over)}; {advice}")


def _route(
    design: Design,
    part: Part,
    clock: float,
    seeds: int,
    untimed: Mapping[str, float],
    nextpnr: Tool,
    work: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The clock of the fastest of several placements, `timing_figures`, and its log in `work`."""
    place, netlist = work.relative_to(design.folder), work / "netlist.json"
    # Out of context: pins are no limit, and the paths to and from them are left to the design around it.
    options = [*part.options, "--out-of-context", "--freq", str(clock), "--timing-allow-fail"]
    # It keeps what belongs together closer than the default placer does, and its result is routed in half the time.
    options += ["--placer", "static", "--json", f"{place}/{netlist.name}"]

    def attempt(seed: int) -> tuple[dict[str, Any], Path]:
        report, log = work / f"timing{seed}.json", work / f"nextpnr{seed}.log"
        files = ["--seed", str(seed), "--report", f"{place}/{report.name}"]
        run_logged(nextpnr, [*options, *files], design.folder, log, say)
        figures = timing_figures(json.loads(report.read_text(encoding="utf-8")), clock, untimed)
        report.unlink()
        return figures, log

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        attempts = list(pool.map(attempt, range(1, seeds + 1)))
    netlist.unlink()
    best, log = max(attempts, key=lambda found: found[0]["fmax_mhz"])
    log.replace(work / "nextpnr.log")
    for _, other in attempts:
        other.unlink(missing_ok=True)
    return best | {"tried_mhz": [figures["fmax_mhz"] for figures, _ in attempts]}


def timing_figures(report: Mapping[str, Any], clock: float, untimed: Mapping[str, float]) -> dict[str, Any]:
    """The clock from nextpnr's report.

    Args:
        report: nextpnr's.
        clock: the clock in MHz that it aimed at.
        untimed: paths of the design that it does not time, with the most MHz that they allow.

    Returns:
        `goal_mhz`, `fmax_mhz`, which is no more than those of `untimed_mhz`, and the `critical_path` from register to
        register: per step its `kind` (clk-to-q, routing, logic, setup), `delay_ns`, the `cell` in which it ends and the
        `net` that leads there.
    """
    paths = [p for p in report["critical_paths"] if p["from"] == p["to"] and "posedge" in p["from"]]
    if not paths or not report["fmax"]:
        raise GradcamError("nextpnr found no path from register to register; the design has no clock")
    steps = [
        {"kind": s["type"], "delay_ns": round(s["delay"], 3), "cell": s["to"]["cell"], "net": s.get("net")}
        for s in max((p["path"] for p in paths), key=lambda path: sum(s["delay"] for s in path))
    ]
    achieved = min([*(f["achieved"] for f in report["fmax"].values()), *untimed.values()])
    return {"goal_mhz": clock, "fmax_mhz": round(achieved, 2), "untimed_mhz": untimed, "critical_path": steps}
