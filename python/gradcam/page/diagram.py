"""The block diagram of a core: what the files of a design say of its interfaces, engines and memories, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradcam.page.render import count, size
from gradcam.schema.program import Program
from gradcam.schema.report import Report
from gradcam.verdict import percent

#: Units of the drawing: its width, the least width of a block, its height without notes and that of a note, the gap
#: between two blocks, the margin of a frame around blocks, and the height of its title.
WIDTH, BOX, HIGH, NOTE, GAP, EDGE, TITLE = 960, 116, 30, 16, 10, 12, 26

#: The width of what stands at either side of the engines and memories, and of the arrows beside it.
SIDE, ARROW = 128, 36


#: The name of a block, and its notes.
Entry = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Block:
    """A block with lines of text, at a place.

    Attributes:
        name: its name, the first line.
        notes: the other lines.
        x, y: its upper left corner.
        width, height: its size.
        kind: a class of the style sheet; "" for an ordinary block.
    """

    name: str
    notes: tuple[str, ...]
    x: int
    y: int
    width: int
    height: int
    kind: str = ""


@dataclass(frozen=True)
class Frame:
    """A frame around blocks, with a title."""

    title: str
    x: int
    y: int
    width: int
    height: int

    @property
    def bottom(self) -> int:
        """Its lower edge."""
        return self.y + self.height


@dataclass(frozen=True)
class Diagram:
    """Blocks, frames and arrows; an arrow is its two ends, x and y each, and whether it points both ways."""

    blocks: tuple[Block, ...]
    frames: tuple[Frame, ...]
    arrows: tuple[tuple[int, int, int, int, bool], ...]
    width: int
    height: int
    text: str


def diagram(program: Program, report: Report) -> Diagram:
    """The blocks of a design's core."""
    left, right = SIDE + ARROW, WIDTH - SIDE - ARROW
    engines, banks = _engines(program, report), _banks(program)
    frames, blocks, y = list[Frame](), list[Block](), 0
    for title, entries in (("control", _control(program)), ("engines", engines), ("memories", banks)):
        frame, inside = _group(title, entries, left, right, y)
        frames.append(frame)
        blocks += inside
        y = frame.bottom + ARROW
    control, middle, memories = frames
    centre, row = WIDTH // 2, (middle.y + middle.bottom) // 2
    for name, x in (("image_buffer", 0), ("result_buffer", WIDTH - SIDE)):
        notes, high = ("AXI4-Stream", size(program.packet_bytes[name])), HIGH + 2 * NOTE
        blocks.append(Block(name.replace("_", " "), notes, x, row - high // 2, SIDE, high, "strong"))
    arrows = (
        (SIDE, row, left, row, False),
        (right, row, WIDTH - SIDE, row, False),
        (centre, control.bottom, centre, middle.y, False),
        (centre, middle.bottom, centre, memories.y, True),
    )
    words = f"{program.core.top}: {len(engines)} engines, {len(banks)} memories, {len(program.core.ports)} ports"
    return Diagram(tuple(blocks), tuple(frames), arrows, WIDTH, memories.bottom, words)


def _group(title: str, entries: Sequence[Entry], left: int, right: int, y: int) -> tuple[Frame, list[Block]]:
    """Blocks of one size in rows from left to right, and the frame around them, from `y` on."""
    inside = right - left - 2 * EDGE
    columns = max(1, min(len(entries), (inside + GAP) // (BOX + GAP)))
    width = (inside + GAP) // columns - GAP
    height = HIGH + NOTE * max((len(notes) for _, notes in entries), default=0)
    blocks = []
    for number, (name, notes) in enumerate(entries):
        row, column = divmod(number, columns)
        x, top = left + EDGE + column * (width + GAP), y + TITLE + row * (height + GAP)
        blocks.append(Block(name, notes, x, top, width, height))
    rows = -(-len(entries) // columns)
    return Frame(title, left, y, right - left, TITLE + rows * (height + GAP) - GAP + EDGE), blocks


def _control(program: Program) -> list[Entry]:
    """What starts a run and leads it, and what reads from DRAM."""
    found: list[Entry] = [
        ("registers", ("AXI4-Lite", f"{len(program.core.registers)} registers")),
        ("sequencer", (f"{len(program.nests)} nests", f"{count(program.cycles.total)} cycles")),
    ]
    if program.dram:
        found.append(("weights from DRAM", ("AXI4", f"{program.dram.width} bits a beat")))
    return found


def _engines(program: Program, report: Report) -> list[Entry]:
    """The engines with their multiplications, and the share of the run in which each works."""
    found = list[Entry]()
    for engine in dict.fromkeys(nest.engine for nest in program.nests):
        busy = sum(nest.end - nest.start for nest in program.nests if nest.engine == engine)
        products = report.multiplications.get(engine, 0)
        notes = (
            f"busy {percent(busy / (program.cycles.total or 1))}",
            f"{count(products)} multiplications" if products else "",
        )
        found.append((engine, notes))
    return found


def _banks(program: Program) -> list[Entry]:
    """The memories of the program, with their size and what is in them."""
    return [(name, (size(bank.size), "constant" if bank.constant else "")) for name, bank in program.banks.items()]
