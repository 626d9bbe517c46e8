"""gradcam-narrow-memories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch_mlir import ir

from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.attributes import BANKS
from gradcam.passes.ir.queries import is_global
from gradcam.passes.program.banks import Bank, layout_of, place_of
from gradcam.passes.program.engines import access_kind
from gradcam.passes.program.nest import Access, Nest, read_nests
from gradcam.passes.program.runs import share_engine
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.program.streams import held_steps, word_steps
from gradcam.passes.schedule.pixel_loops import MOST

#: Of so many steps of a program, one may be added by nests whose steps need words faster than a memory reads them.
SLOWER = 300

#: Flip-flops that come with a LUT, and are counted as one.
FLIP_FLOPS = 2


@dataclass(frozen=True)
class NarrowMemories(Pass):
    """Makes memories of constants narrower: a word that serves T steps is put together from up to T reads.

    A bank of few wide words takes block RAMs for all bits of a word, and leaves them empty; one of many wide words
    takes a LUT per bit to choose between its memories. With R times as many words of an R-th of the lanes it takes less
    of both, and flip-flops, in which a word is gathered while the one before it is in use. R is the power of two up to
    8 with which the bank is worth the fewest LUTs (`passes/program/block_ram.py`). Nests that need a word more often
    than in every R-th step wait for it; at most a 300th of the program's steps may be added.

    Only banks are changed that are read in epilogues alone, which do not wait, or by one engine in the bodies of its
    nests, which have no other constants; and none that an engine with a stream reads. The words of the memories are no
    narrower than a beat of the DRAM. Resident weights keep their words.

    This pass turns:

        module attributes {gradcam.banks = {weights = {bits = 8, lanes = 256, words = 111, ...}}} { ... }

    into:

        module attributes {gradcam.banks = {weights = {bits = 8, lanes = 256, words = 111, reads = 4, ...}}} { ... }
    """

    name: ClassVar[str] = "gradcam-narrow-memories"
    preserves = (read_nests,)

    def run(self, module: ir.Module) -> None:
        """Sets the `reads` of banks in `gradcam.banks`."""
        with module.context:
            program, banks = ScheduledProgram.of(module), BANKS.get(module.operation)
            for name, bank in program.banks.items():
                reads = _best_reads(program, bank)
                if reads > 1:
                    banks[name] = banks[name] | {"reads": reads}
            BANKS.set(module.operation, banks)


def _best_reads(program: ScheduledProgram, bank: Bank) -> int:
    """The reads of a word with which the bank is worth the fewest LUTs."""
    loads = _loads(program, bank)
    stream = program.weight_stream if program.weight_stream and program.weight_stream.bank == bank else None
    most, choices = MOST if stream is None else min(MOST, stream.word_beats), [1]
    while loads and bank.lanes % (reads := 2 * choices[-1]) == 0 and reads <= most:
        slow = [(nest, load) for nest, load in loads if held_steps(nest, load) < reads]
        added = sum((reads - held_steps(nest, load)) * len(word_steps(nest, load)) for nest, load in slow)
        if added * SLOWER > sum(nest.steps for nest in program.nests):
            break
        if not all(nest.in_body(load) and not (stream and _repeats(nest, load)) for nest, load in slow):
            break
        choices.append(reads)
    return min(choices, key=lambda reads: _weight(program, bank, reads))


def _repeats(nest: Nest, load: Access) -> bool:
    """Whether a nest reads words more than once through a load: its waits for the DRAM would not be known."""
    return any(loop.trip > 1 and loop.iv not in load.index for loop in nest.loops)


def _weight(program: ScheduledProgram, bank: Bank, reads: int) -> float:
    """The LUTs that the bank is worth with so many reads of a word."""
    clock = program.clock
    layout = layout_of(clock, program.platform, bank.lanes, bank.bits, bank.words, bank.constant, reads)
    gathered = bank.width * (2 - 1 / reads) if reads > 1 else 0
    return clock.block.weight(layout, bank.width // reads) + gathered / FLIP_FLOPS


def _loads(program: ScheduledProgram, bank: Bank) -> list[tuple[Nest, Access]]:
    """The loads of a bank of constants, each with its nest; none where the bank stays as it is."""
    found = [] if bank.loaded else [(nest, a) for nest in program.nests for a in nest.loads if _is_in(a, bank)]
    if not all(is_global(a.memref) for _, a in found):
        return []
    beside = [n for n in program.nests if any(n is nest or share_engine(n, nest) for nest, _ in found)]
    if any(access_kind(a) == "stream" for n in beside for a in (*n.loads, *n.stores)):
        return []
    if not any(nest.in_body(a) for nest, a in found):
        return found
    first = found[0][0]
    bodies = [n.body for n in program.nests if n.body and (n is first or share_engine(n, first))]
    constants = [a for body in bodies for a in body.loads if is_global(a.memref)]
    return found if len(constants) == len(found) and all(_is_in(a, bank) for a in constants) else []


def _is_in(access: Access, bank: Bank) -> bool:
    return access_kind(access) == "memory" and place_of(access.memref)[0] == bank.name
