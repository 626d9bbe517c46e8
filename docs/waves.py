"""Makes the timing diagrams of guide.md from a simulated run: `python docs/waves.py`.

The network of architecture.md, with its weights in DRAM, runs three images in cocotb; what its ports did in some of the
cycles is written to waves/NAME.json for WaveDrom, and drawn as waves/NAME.svg.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import wavedrom

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the example
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # a folder of scripts, not a package

from core_simulation import build, play

from examples.walkthrough import network
from gradcam.compiler import Settings
from gradcam.design import Design
from gradcam.output import compile_to_folder
from gradcam.reference.integer import quantize_image
from gradcam.schema.program import Program
from gradcam.sim.trace import load_quantized

HERE = Path(__file__).parent

#: The ports by interface, without prefix: what of each channel is drawn.
CHANNELS = {
    "s_axi_control": (
        *("awvalid", "awready", "awaddr", "wvalid", "wready", "wdata", "bvalid", "bready", "bresp"),
        *("arvalid", "arready", "araddr", "rvalid", "rready", "rdata", "rresp"),
    ),
    "s_axis_image": ("tvalid", "tready", "tdata", "tlast"),
    "m_axis_result": ("tvalid", "tready", "tdata", "tlast"),
    "m_axi_weights": ("arvalid", "arready", "araddr", "arlen", "rvalid", "rready", "rdata", "rlast"),
}

#: Columns of the diagram of a whole run.
COLUMNS = 40


@dataclass(frozen=True)
class Run:
    """What the ports did, cycle by cycle: in an access of a register, and while images ran; and the core's facts."""

    access: dict[str, list[int]]
    images: dict[str, list[int]]
    program: Program


def simulate() -> Run:
    """Compiles the network, and simulates its core."""
    with tempfile.TemporaryDirectory(prefix="gradcam-waves-") as temporary:
        folder, work = Path(temporary) / "design", Path(temporary) / "simulation"
        model = network()
        settings = Settings("block", pe="4x4", weights="dram", dram_width=32)
        compile_to_folder(model, "examples.walkthrough:network", settings, folder)
        work.mkdir()
        build(folder, "verilator", work)
        design = Design.load(folder)
        images = quantize_image(load_quantized(design), model.calibration_images())
        ports = [f"{prefix}_{name}" for prefix, names in CHANNELS.items() for name in names]
        steps: list[dict[str, Any]] = [
            {"do": "access", "register": "IRQ_ENABLE", "word": 1},
            {"do": "images", "images": [0, 1, 2], "eager": True},
        ]
        recorded = [{"do": "recorded", "step": step, "signals": [*ports, "interrupt"]} for step in steps]
        played = play(folder, recorded, images, work)
        access, run = (entry["signals"] for entry in played.of("recorded"))
        return Run(access, run, design.program)


Windows = Sequence[tuple[int, int]]
Label = Callable[[int, int], str]


def hexadecimal(_number: int, value: int) -> str:
    """The label of a value: itself."""
    return f"{value:x}"


def bit(values: Sequence[int], windows: Windows) -> str:
    """The wave of a port of one bit in some stretches of cycles."""
    return "|".join(_steps([str(v) for v in values[a:b]]) for a, b in windows)


def _steps(states: Sequence[str]) -> str:
    """States as WaveDrom writes them: a dot goes on with the one before it."""
    return "".join("." if i and state == states[i - 1] else state for i, state in enumerate(states))


def word(
    signals: dict[str, list[int]], channel: str, name: str, windows: Windows, label: Label = hexadecimal
) -> dict[str, Any]:
    """The wave and the data of a port that has a value while its channel is valid; each transfer is a cell."""
    valid, ready, values = signals[f"{channel}valid"], signals[f"{channel}ready"], signals[name]
    numbers, number, cells = count(), -1, []  # what is on the port in each cycle: number of the transfer, label
    fresh = True
    for t, value in enumerate(values):
        number = next(numbers) if valid[t] and fresh else number
        fresh = not valid[t] or bool(ready[t])
        cells.append((number, label(number, value)) if valid[t] else None)
    waves, data = [], []
    for a, b in windows:
        wave, last = "", ()
        for cell in cells[a:b]:
            wave += "." if cell == last else "x" if cell is None else "="
            data += [cell[1]] if cell is not None and cell != last else []
            last = cell
        waves.append(wave)
    return {"wave": "|".join(waves), "data": data}


def diagram(signals: dict[str, list[int]], names: Sequence[str], windows: Windows, **labels: Label) -> dict[str, Any]:
    """The diagram of some ports; a port with several bits belongs to the channel of the same prefix."""
    clock = "|".join(("p" if i == 0 else ".") + "." * (b - a - 1) for i, (a, b) in enumerate(windows))
    rows: list[dict[str, Any]] = [{"name": "aclk", "wave": clock}]
    for name in names:
        channel, _, suffix = name.rpartition("_")
        if suffix.endswith(("valid", "ready", "last")) or name == "interrupt":
            rows.append({"name": name, "wave": bit(signals[name], windows)})
        else:
            prefix = next(p for p in ("aw", "ar", "w", "b", "r", "t") if suffix.startswith(p))
            shown = word(signals, f"{channel}_{prefix}", name, windows, labels.get(suffix, hexadecimal))
            rows.append({"name": name, **shown})
    return {"signal": rows, "config": {"hscale": 2}}


def transfers(signals: dict[str, list[int]], channel: str) -> list[int]:
    """The cycles in which a channel transfers."""
    both = zip(signals[f"{channel}valid"], signals[f"{channel}ready"], strict=True)
    return [t for t, (valid, ready) in enumerate(both) if valid and ready]


def prefixed(interface: str, *names: str) -> list[str]:
    """Ports of an interface."""
    return [f"{interface}_{name}" for name in names or CHANNELS[interface]]


def diagrams(run: Run) -> dict[str, dict[str, Any]]:
    """All diagrams by name, as WaveDrom takes them."""
    control, image, result, weights = CHANNELS
    beats, words = run.program.inputs[0].beats, run.program.packet_words
    labels = [name if count == 1 else f"{name} {i}" for name, count in run.program.fields.items() for i in range(count)]
    ends = {c: transfers(run.access, f"{control}_{c}") for c in ("aw", "r")}
    pixels, leaving = transfers(run.images, f"{image}_t"), transfers(run.images, f"{result}_t")
    asked, read = transfers(run.images, f"{weights}_ar"), transfers(run.images, f"{weights}_r")
    size = run.images[f"{weights}_arlen"][asked[0]] + 1
    return {
        "access": diagram(run.access, prefixed(control), [(ends["aw"][0] - 2, ends["r"][0] + 2)]),
        "image": diagram(
            run.images,
            prefixed(image),
            [(pixels[0] - 1, pixels[0] + 3), (pixels[beats - 1] - 1, pixels[beats - 1] + 2)],
            tdata=lambda n, _: f"pixel {n % beats}",
        ),
        "result": diagram(
            run.images,
            ["interrupt", *prefixed(result)],
            [(leaving[0] - 2, leaving[0] + 5), (leaving[words - 1] - 1, leaving[words - 1] + 2)],
            tdata=lambda n, _: labels[n % words],
        ),
        "weights": diagram(
            run.images,
            prefixed(weights),
            [(asked[0] - 1, read[0] + 3), (read[size - 1] - 1, read[size - 1] + 2)],
        ),
        "stream": stream(run, pixels, leaving),
    }


def stream(run: Run, pixels: Sequence[int], leaving: Sequence[int]) -> dict[str, Any]:
    """Three images on their way, a column for many cycles: which packet has a beat in them."""
    first = pixels[0]
    cycles = -(-(leaving[-1] + 1 - first) // COLUMNS)
    rows = []
    for name, times, size in (
        ("s_axis_image", pixels, run.program.inputs[0].beats),
        ("m_axis_result", leaving, run.program.packet_words),
    ):
        wave, data, last = "", [], None
        for column in range(COLUMNS):
            here = [i // size for i, t in enumerate(times) if 0 <= t - first - column * cycles < cycles]
            packet = here[0] if here else None
            wave += "." if packet == last and wave else "x" if packet is None else "="
            data += [str(packet)] if packet is not None and packet != last else []
            last = packet
        rows.append({"name": name, "wave": wave, "data": data})
    return {"signal": rows, "foot": {"text": f"a column is {cycles} cycles"}}


def text_of(wave: dict[str, Any]) -> str:
    """The JSON file of a diagram."""
    return json.dumps(wave, indent=1) + "\n"


def drawn(wave: dict[str, Any]) -> str:
    """The SVG file of a diagram."""
    return wavedrom.render(json.dumps(wave)).tostring() + "\n"


def main() -> None:
    """Writes all files."""
    for name, wave in diagrams(simulate()).items():
        (HERE / "waves" / f"{name}.json").write_text(text_of(wave), encoding="utf-8")
        (HERE / "waves" / f"{name}.svg").write_text(drawn(wave), encoding="utf-8")


if __name__ == "__main__":
    main()
