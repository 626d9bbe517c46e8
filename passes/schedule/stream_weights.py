"""gradcam-stream-weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import memref

from gradcam.dram import check_dram
from gradcam.errors import fail
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir import affine_ir
from gradcam.passes.ir.linear_form import Linear, access_forms, plus
from gradcam.passes.ir.queries import is_global, main_function, strides_of, users
from gradcam.passes.program.banks import Bank, banks_of, constants_of, place_of
from gradcam.passes.program.nest import Access, Loop, Nest, nests
from gradcam.passes.program.tape import Tape, uses_of, word_form


@dataclass(frozen=True)
class StreamWeights(Pass):
    """Moves the weights into DRAM: lays them out as one tape in the order of their use, and makes their bank a ring.

    Every nest gets a constant of its own, one word after the other as its loops want them first; what a run-time value
    picks, such as the row of a class, becomes the outermost dimension. An offset is a position on the tape.

    This pass turns:

        %w = memref.get_global @w : memref<4x2x3x3x16x16xi8> {gradcam.bank = "weights", gradcam.offset = 18 : i64}
        affine.load %w[%oct, %ict, %kh, %kw, %o, %i]
        affine.load %w[%oct, %ict, 1, 1, %o, %i]

    into:

        %w = memref.get_global @tape0 : memref<1x72x256xi8> {gradcam.bank = "weights", gradcam.offset = 0 : i64}
        %v = memref.get_global @tape1 : memref<1x8x256xi8> {gradcam.bank = "weights", gradcam.offset = 72 : i64}
        affine.load %w[0, %oct * 18 + %ict * 9 + %kh * 3 + %kw, %o * 16 + %i]
        affine.load %v[0, %oct * 2 + %ict, %o * 16 + %i]

    and says in the module's attribute `gradcam.tape` how the tape is read: `width` in bits of a beat, `outstanding`
    bursts, and the `latency` in cycles that predicted cycles assume.
    """

    name: ClassVar[str] = "gradcam-stream-weights"
    width: int = 64
    outstanding: int = 8
    latency: int = 64

    def __post_init__(self) -> None:
        check_dram(self.width, self.outstanding, self.latency)

    def run(self, module: ir.Module) -> None:
        """Replaces the constants of the largest bank of weights; sets its words, and the module's `gradcam.tape`."""
        with module.context, ir.Location.unknown():
            bank = _weights(module)
            if bank.width % self.width:
                word = f"a weight word of {bank.lanes} x {bank.bits} = {bank.width} bits"
                raise fail(main_function(module), f"a DRAM width of {self.width} bits does not divide {word}")
            _lay_out(module, bank)
            uses = uses_of(list(nests(module)), bank)
            tape = Tape(bank, self.width, self.outstanding, self.latency, uses, {})
            _annotate(module, tape)


def _weights(module: ir.Module) -> Bank:
    """The largest bank of 8-bit constants; a second one, for words of another size, stays on chip."""
    banks = [b for b in banks_of(module).values() if b.constant and b.bits == 8]
    if not banks:
        raise fail(main_function(module), "there are no weights to stream")
    return max(banks, key=lambda b: b.words * b.lanes)


def _lay_out(module: ir.Module, bank: Bank) -> None:
    constants, position, number = constants_of(module), 0, 0
    for nest in nests(module):
        for access in nest.loads:
            if is_global(access.memref) and place_of(access.memref)[0] == bank.name:
                position += _replace(module, nest, access, bank, constants[access.memref], f"tape{number}", position)
                number += 1
    _erase_unused(module)


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


def _replace(
    module: ir.Module, nest: Nest, access: Access, bank: Bank, data: np.ndarray, name: str, position: int
) -> int:
    """Gives the access a constant of its own; returns the words that it takes on the tape."""
    words, symbol = word_form(access, nest.loops, bank)
    loops = [n for n in nest.loops if words.get(n.iv) and n.trip > 1]
    table = _gather(words, loops, access.index.get(symbol, 0) // bank.lanes if symbol else 0, data, bank)
    type_ = ir.MemRefType.get(table.shape, ir.MemRefType(access.memref.type).element_type)
    with access.memref.owner.location:
        with ir.InsertionPoint(main_function(module)):
            value = ir.DenseElementsAttr.get(table, type=ir.RankedTensorType.get(table.shape, type_.element_type))
            private, unit = ir.StringAttr.get("private"), ir.UnitAttr.get()
            memref.GlobalOp(name, ir.TypeAttr.get(type_), sym_visibility=private, initial_value=value, constant=unit)
        with ir.InsertionPoint(access.memref.owner):
            source = memref.get_global(type_, name)
    i64 = ir.IntegerType.get_signless(64)
    source.owner.attributes["gradcam.bank"] = ir.StringAttr.get(bank.name)
    source.owner.attributes["gradcam.offset"] = ir.IntegerAttr.get(i64, position)
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
    """The index within a word: what is left of the access, lanes included."""
    _, *indices = access.op.operands
    whole: Linear = {}
    strides = strides_of(ir.MemRefType(access.memref.type))
    for form, stride in zip(access_forms(access.op, indices), strides, strict=True):
        whole = plus(whole, form, stride)
    in_word = {t: c for t, c in whole.items() if c % bank.lanes}
    return {t: c % bank.lanes if t is None else c for t, c in in_word.items()}


def _annotate(module: ir.Module, tape: Tape) -> None:
    i64 = ir.IntegerType.get_signless(64)
    attributes = module.operation.attributes
    numbers = {"width": tape.width, "outstanding": tape.outstanding, "latency": tape.latency}
    entries: dict[str, Any] = {n: ir.IntegerAttr.get(i64, v) for n, v in numbers.items()}
    attributes["gradcam.tape"] = ir.DictAttr.get({"bank": ir.StringAttr.get(tape.bank.name)} | entries)
    set_ring(module, tape.bank, tape.ring_words)


def set_ring(module: ir.Module, bank: Bank, words: int) -> None:
    """Makes the bank a ring of `words` words."""
    attributes = module.operation.attributes
    banks = {e.name: e.attr for e in ir.DictAttr(attributes["gradcam.banks"])}
    ring = {e.name: e.attr for e in ir.DictAttr(banks[bank.name])}
    number = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), words)
    ring |= {"words": number, "constant": ir.BoolAttr.get(False)}
    attributes["gradcam.banks"] = ir.DictAttr.get(banks | {bank.name: ir.DictAttr.get(ring)})
