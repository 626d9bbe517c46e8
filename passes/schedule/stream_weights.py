"""gradcam-stream-weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import memref

from gradcam.errors import fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir import affine_ir
from gradcam.passes.ir.attributes import BANK, BANKS, OFFSET, WEIGHT_STREAM
from gradcam.passes.ir.constants import integers_attr
from gradcam.passes.ir.linear_form import Linear, access_forms, plus
from gradcam.passes.ir.queries import is_global, main_function, strides_of, users
from gradcam.passes.program.banks import Bank, is_weight, place_of, power_of_two
from gradcam.passes.program.nest import Access, Loop, Nest, read_nests
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.program.weight_stream import WeightStream, uses_of, word_form


@dataclass(frozen=True)
class StreamWeights(Pass):
    """Moves the weights to DRAM: lays them out as the weight stream, in the order of use, and makes their bank a ring.

    Every load gets a constant of its own, with its words in the order in which the loops first read them. A dimension
    that a run-time value selects from, such as the rows of the classes, becomes the outermost one. An offset is a
    position in the weight stream.

    This pass turns:

        %w = memref.get_global @w : memref<4x2x3x3x16x16xi8> {gradcam.bank = "weights", gradcam.offset = 18 : i64}
        affine.load %w[%oct, %ict, %kh, %kw, %o, %i]
        affine.load %w[%oct, %ict, 1, 1, %o, %i]

    into:

        %w = memref.get_global @streamed0 : memref<1x72x256xi8> {gradcam.bank = "weights", gradcam.offset = 0 : i64}
        %v = memref.get_global @streamed1 : memref<1x8x256xi8> {gradcam.bank = "weights", gradcam.offset = 72 : i64}
        affine.load %w[0, %oct * 18 + %ict * 9 + %kh * 3 + %kw, %o * 16 + %i]
        affine.load %v[0, %oct * 2 + %ict, %o * 16 + %i]

    and names the bank in the module's attribute `gradcam.weight_stream`. `gradcam.platform` describes the DRAM.
    """

    name: ClassVar[str] = "gradcam-stream-weights"
    preserves = (read_nests,)

    def run(self, module: ir.Module) -> None:
        """Replaces the constants of the largest bank of weights, makes it a ring, and names it as the weight stream."""
        with module.context, ir.Location.unknown():
            program = ScheduledProgram.of(module)
            bank, dram = _weights(program), program.platform.streamed
            if dram is None:
                raise fail(program.function, "the platform has no DRAM; run gradcam-set-platform with a dram-width")
            weight_stream = WeightStream(bank, dram.width, dram.outstanding, dram.latency, [], {})
            bits, word = weight_stream.element_bits, weight_stream.word_bits
            if word % dram.width or dram.width % bits:
                reason = f"does not divide a weight word of {bank.lanes} x {bits} = {word} bits into whole weights"
                raise fail(program.function, f"a DRAM width of {dram.width} bits {reason}")
            _lay_out(program, bank)
            weight_stream = replace(weight_stream, uses=uses_of(program.nests, bank))
            WEIGHT_STREAM.set(module.operation, bank.name)
            set_ring(module, bank, weight_stream.ring_words)


def _weights(program: ScheduledProgram) -> Bank:
    """The largest bank of weights whose words are whole beats; others, for words of another size, stay on chip.

    A depthwise convolution's words, of three taps, are no power of two.
    """
    banks = [b for b in program.banks.values() if b.constant and is_weight(b.bits) and power_of_two(b.lanes) == b.lanes]
    if not banks:
        raise fail(program.function, "there are no weights to stream")
    return max(banks, key=lambda b: b.words * b.lanes)


def _lay_out(program: ScheduledProgram, bank: Bank) -> None:
    """Gives every load of the bank a constant of its own, in the order of use."""
    position, pieces = 0, 0
    for number, nest in enumerate(program.nests):
        loads = [a for a in nest.loads if is_global(a.memref) and place_of(a.memref)[0] == bank.name]
        for access in loads:
            position += _replace(program, nest, access, bank, f"streamed{pieces}", position)
            pieces += 1
        if loads:
            program.reread(number)
    _erase_unused(program.module)


def _erase_unused(module: ir.Module) -> None:
    """Erases the constants that no nest reads any more."""
    references = [o for o in main_function(module).regions[0].blocks[0].operations if _names_global(o)]
    for op in [o for o in references if not users(o.results[0])]:
        references.remove(op)
        op.operation.erase()
    used = {ir.FlatSymbolRefAttr(o.attributes["name"]).value for o in references}
    for op in list(module.body.operations):
        if op.operation.name == "memref.global" and ir.StringAttr(op.attributes["sym_name"]).value not in used:
            op.operation.erase()


def _names_global(op: Any) -> bool:
    return op.operation.name == "memref.get_global"


def _replace(program: ScheduledProgram, nest: Nest, access: Access, bank: Bank, name: str, position: int) -> int:
    """Gives the access a constant of its own; returns the number of its words in the weight stream."""
    data = program.constants[access.memref]
    words, symbol = word_form(access, nest.loops, bank)
    loops = [n for n in nest.loops if words.get(n.iv) and n.trip > 1]
    table = _gather(words, loops, access.index.get(symbol, 0) // bank.lanes if symbol else 0, data, bank)
    type_ = ir.MemRefType.get(table.shape, ir.MemRefType(access.memref.type).element_type)
    with access.memref.owner.location:
        with ir.InsertionPoint(program.function):
            value = integers_attr(table, bank.bits)
            private, unit = ir.StringAttr.get("private"), ir.UnitAttr.get()
            memref.GlobalOp(name, ir.TypeAttr.get(type_), sym_visibility=private, initial_value=value, constant=unit)
        with ir.InsertionPoint(access.memref.owner):
            source = memref.get_global(type_, name)
    BANK.set(source.owner, bank.name)
    OFFSET.set(source.owner, position)
    word: Linear = {}
    for i, loop in enumerate(loops):
        word[loop.iv] = prod(n.trip for n in loops[i + 1 :])
    forms = [{symbol: 1} if symbol else {}, word, _lane(access, bank)]
    with access.op.location, ir.InsertionPoint(access.op):
        access.op.results[0].replace_all_uses_with(affine_ir.load(source, forms))
    access.op.operation.erase()
    return table.shape[1]


def _gather(words: Linear, loops: Sequence[Loop], step: int, data: np.ndarray, bank: Bank) -> np.ndarray:
    """The words in the order of the loops, of shape (alternatives, words, lanes); `step` words between alternatives."""
    index = np.full(1, words.get(None, 0))
    for loop in loops:
        index = (index[:, None] + words[loop.iv] * np.arange(loop.trip)).ravel()
    padded = np.zeros(-(-data.size // bank.lanes) * bank.lanes, dtype=data.dtype)
    padded[: data.size] = data
    rows = padded.reshape(-1, bank.lanes)
    count = (len(rows) - 1 - index.max()) // step + 1 if step else 1
    return np.ascontiguousarray(rows[index + step * np.arange(count)[:, None]])


def _lane(access: Access, bank: Bank) -> Linear:
    """The index of the access within a word, over the remaining loops and the lanes."""
    _, *indices = access.op.operands
    whole: Linear = {}
    strides = strides_of(ir.MemRefType(access.memref.type))
    for form, stride in zip(access_forms(access.op, indices), strides, strict=True):
        whole = plus(whole, form, stride)
    in_word = {t: c for t, c in whole.items() if c % bank.lanes}
    return {t: c % bank.lanes if t is None else c for t, c in in_word.items()}


def set_ring(module: ir.Module, bank: Bank, words: int) -> None:
    """Makes the bank a ring of `words` words."""
    banks = BANKS.get(module.operation)
    BANKS.set(module.operation, banks | {bank.name: banks[bank.name] | {"words": words, "constant": False}})
