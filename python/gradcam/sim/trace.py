"""Compares the buffers in the design's memories after each nest with the integer reference, tensor by tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch_mlir import ir

from gradcam.bits import whole_bits
from gradcam.design import Design
from gradcam.dialect import make_context
from gradcam.dialect.traits import ChoosesClass, has
from gradcam.errors import GradcamError
from gradcam.folder import QUANTIZED
from gradcam.passes.infra.contexts import parse_module
from gradcam.quant_types import ACCUMULATOR_BITS
from gradcam.reference.integer import run_integer
from gradcam.schema.program import Buffer, Nest, Program
from gradcam.sim.header import Dump, dumps
from gradcam.sim.simulator import Result


@dataclass(frozen=True)
class Tensor:
    """A value of the integer reference.

    Attributes:
        name: the name in its op's location.
        value: its stored integers.
        cls: the class that it depends on, which selects the lane of a map; -1 when it depends on no class.
    """

    name: str
    value: np.ndarray
    cls: int = -1


@dataclass(frozen=True)
class Difference:
    """The first element in which a buffer differs from its tensor; the index is the tensor's."""

    nest: int
    tensor: str
    index: tuple[int, ...]
    expected: int
    got: int
    count: int

    def __str__(self) -> str:
        place = ", ".join(map(str, self.index))
        return (
            f"nest {self.nest} wrote {self.tensor}[{place}] = {self.got}, expected {self.expected} "
            f"({self.count} elements of the tensor differ)"
        )


@dataclass
class Trace:
    """The outcome of a comparison.

    Attributes:
        compared: names of the tensors that were compared, in the order of the nests.
        skipped: buffers without a tensor in the reference.
        rings: buffers that are rings, which do not hold a whole tensor to compare.
        difference: the first one, None when all are equal.
    """

    compared: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    rings: list[str] = field(default_factory=list)
    difference: Difference | None = None

    def __str__(self) -> str:
        text = f"{len(self.compared)} buffers equal, {len(self.skipped)} without a tensor to compare with"
        rings = ", ".join(self.rings)
        return f"{text}, {len(self.rings)} kept in part only and not compared ({rings})" if rings else text


def load_quantized(design: Design) -> ir.Module:
    """The quantized module that the design was compiled from.

    Raises:
        GradcamError: the folder has none, or it cannot be parsed.
    """
    return load_module(design, QUANTIZED)


def load_module(design: Design, name: str) -> ir.Module:
    """A module in the output folder of the design, by the path of its file there.

    Raises:
        GradcamError: the file is missing, or cannot be parsed.
    """
    path = design.folder / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise GradcamError(f"cannot read {path}: {error.strerror}") from error
    try:
        return parse_module(data, make_context())
    except (ir.MLIRError, GradcamError) as error:
        raise GradcamError(f"{path} is damaged: {str(error).splitlines()[0]}") from error


def reference_tensors(module: ir.Module, image: np.ndarray, cls: int) -> list[Tensor]:
    """Runs the integer reference on an int8 image (C x H x W): the image and every op's result in program order."""
    tensors = [Tensor("image", image[None])]
    classes: dict[ir.Value, int] = {}

    def record(op: Any, _index: int, value: np.ndarray) -> None:
        explained = [classes[v] for v in op.operands if v in classes]
        if has(op, ChoosesClass):
            explained = [int(value[0])]
        if explained:
            classes[op.results[0]] = explained[-1]
        if isinstance(op.location, ir.NameLoc):
            tensors.append(Tensor(op.location.name_str, value, classes.get(op.results[0], -1)))

    run_integer(module, image[None], cls, record)
    return tensors


def compare_trace(program: Program, result: Result, module: ir.Module, image: np.ndarray, cls: int = -1) -> Trace:
    """Compares a traced run with the integer reference.

    Args:
        program: the design.
        result: of a run with its buffers.
        module: the quantized module; see `load_quantized`.
        image: int8, C x H x W.
        cls: the class that the run was asked to explain; -1 for the predicted one.

    Raises:
        GradcamError: there is nothing to compare, or no buffer corresponds to a tensor.
    """
    return compare_buffers(program, result.buffers, reference_tensors(module, image, cls))


def compare_buffers(program: Program, buffers: Sequence[np.ndarray], tensors: Sequence[Tensor]) -> Trace:
    """Compares buffers, in the order of `dumps(program)`, with tensors.

    Raises:
        GradcamError: there is nothing to compare, or no buffer corresponds to a tensor.
    """
    written = dumps(program)
    if not buffers or len(buffers) != len(written):
        raise GradcamError(f"the run has {len(buffers)} buffers, not the {len(written)} that it writes")
    finished = _with_halves_joined(_finished(written, buffers))
    names = [_tensor_name(program.nests[nest], name, tensors) for nest, name, *_ in finished]
    writes = [(nest, n, _width(b, bits)) for (nest, _, b, bits), n in zip(finished, names, strict=True)]
    # A map fills whole words of the widest memory of maps, also where its own memory has narrower ones.
    word = max((program.banks[b.bank].lanes for b in program.buffers if b.bank is not None), default=1)
    partners = _partners(writes, [b for _, _, b, _ in finished], word, tensors)
    trace = Trace(rings=[buffer.name for buffer in program.buffers if buffer.ring is not None])
    for (nest, own, buffer, bits), name, tensor in zip(finished, names, partners, strict=True):
        if tensor is None:
            trace.skipped.append(own)
            continue
        trace.compared.append(name)
        got = _view(_with_sign_of(tensor, buffer, bits), tensor)
        if trace.difference is None and got is not None and (got != tensor.value).any():
            trace.difference = _difference(nest, tensor, got)
    if not trace.compared:
        raise GradcamError("no buffer of the design has the name of a tensor of the reference: nothing was compared")
    return trace


#: The nest that wrote a buffer last, the buffer's name, its content, and the bits of its elements.
Finished = tuple[int, str, np.ndarray, int]


def _finished(written: Sequence[Dump], buffers: Sequence[np.ndarray]) -> list[Finished]:
    """The buffers as their last writers leave them: a tensor may be put together by several nests."""
    last = {
        d.buffer.name: (d.nest, d.buffer.name, _single_pixels(d.buffer, b), d.buffer.element_bits)
        for d, b in zip(written, buffers, strict=True)
    }
    return sorted(last.values(), key=lambda found: found[0])


def _single_pixels(buffer: Buffer, content: np.ndarray) -> np.ndarray:
    """The content of a buffer with each pixel at an index of its own."""
    if buffer.pixels is None:
        return content
    (rows, columns, lanes), (height, width, _) = buffer.pixels, content.shape
    parts = content[:, :, : rows * columns * lanes].reshape(height, width, rows, columns, lanes)
    return parts.transpose(0, 2, 1, 3, 4).reshape(height * rows, width * columns, lanes)


def _with_halves_joined(finished: Sequence[Finished]) -> list[Finished]:
    """The buffers with the two halves of 8 bits of a 16-bit tensor, `NAME.high` and `NAME.low`, as one."""
    halves = {name: buffer for _, name, buffer, _ in finished if name.endswith((".high", ".low"))}
    found = list[Finished]()
    for nest, name, buffer, bits in finished:
        whole, _, half = name.rpartition(".")
        other = halves.get(f"{whole}.{'low' if half == 'high' else 'high'}") if name in halves else None
        if other is None:
            found.append((nest, name, buffer, bits))
        elif half == "high":
            found.append((nest, whole, 256 * buffer.astype(np.int16) + other, 2 * bits))
    return found


def _tensor_name(nest: Nest, buffer: str, tensors: Sequence[Tensor]) -> str:
    """A buffer is named after its tensor, unless that name is taken; the nest that writes it always is.

    The name of a copy is that of the buffer beside which the nest writes it, and a number. The halves of a tensor have
    a name behind that of the tensor, and are none.
    """
    original, _, number = buffer.rpartition(".")
    names = [buffer, *([original] if number.isdecimal() and original in nest.writes else [])]
    is_part = (original if number.isdecimal() else buffer).endswith(".halves")
    return next((n for n in names if any(t.name == n for t in tensors)), buffer if is_part else nest.name)


def _partners(
    writes: Sequence[tuple[int, str, int]], buffers: Sequence[np.ndarray], word: int, tensors: Sequence[Tensor]
) -> list[Tensor | None]:
    """The tensor of each buffer, written as (nest, name, width): same name and width, and a shape that fits.

    A buffer in which several maps lie side by side, in words of their own, is no single one of them.

    Several ops can share a name, as a module's do that is called twice. Then both sides are matched in program order
    from the end, because the last op of a name is the one whose result is stored. Copies that a nest writes side by
    side have one tensor; a mask beside them has another one, of 1 bit. A tensor of 32 bits that is never stored, as a
    wide sum, is not that of a buffer of 8 bits, unless none of 8 bits fits it: sums in memory have the proved bits.
    """
    free: dict[tuple[str, int], list[Tensor]] = {}
    for tensor in tensors:
        free.setdefault((tensor.name, _width(tensor.value, 8 * tensor.value.itemsize)), []).append(tensor)
    partners: list[Tensor | None] = []
    taken: dict[tuple[int, str, int], list[Tensor]] = {}
    for (nest, name, width), buffer in zip(reversed(writes), reversed(buffers), strict=True):
        beside = taken.setdefault((nest, name, width), [])
        partner = next((t for t in beside if _fits(t, buffer, word)), None)
        for bits in () if partner else (width, ACCUMULATOR_BITS):
            if partner is None and (partner := _take_last(free.get((name, bits), []), buffer, word)):
                beside.append(partner)
        partners.append(partner)
    return partners[::-1]


def _width(elements: np.ndarray, bits: int) -> int:
    """Bits of the type that has integers of `bits` in the reference; 1 of a mask."""
    return 1 if elements.dtype == np.bool_ else whole_bits(bits)


def _take_last(candidates: list[Tensor], buffer: np.ndarray, word: int) -> Tensor | None:
    """Takes the last candidate that fits, and the ones behind it, out of the list.

    A sum of 32 bits that is rescaled at once is never stored: one before it that the buffer equals is preferred.
    """
    fitting = [i for i in reversed(range(len(candidates))) if _fits(candidates[i], buffer, word)]
    if not fitting:
        return None
    wide = [i for i in fitting if candidates[i].value.itemsize == np.int32().itemsize]
    views = ((i, _view(buffer, candidates[i])) for i in wide)
    equal = (i for i, view in views if view is not None and np.array_equal(view, candidates[i].value))
    chosen = next(equal, fitting[0])
    tensor = candidates[chosen]
    del candidates[chosen:]
    return tensor


def _fits(tensor: Tensor, buffer: np.ndarray, word: int) -> bool:
    shape = tensor.value.shape
    has_others = len(shape) in (2, 4) and buffer.ndim == 3 and buffer.shape[2] >= shape[1] + word
    return _view(buffer, tensor) is not None and not has_others


def _with_sign_of(tensor: Tensor, buffer: np.ndarray, bits: int) -> np.ndarray:
    """A buffer of `bits`-wide integers as those of a tensor: a memory does not know whether they have a sign."""
    kind = tensor.value.dtype
    return buffer.astype(kind) & ((1 << bits) - 1) if kind.kind == "u" else buffer


def _view(buffer: np.ndarray, tensor: Tensor) -> np.ndarray | None:
    """A buffer in the shape of a tensor: real channels first, or the class's lane of a map; None if it cannot be.

    A buffer can keep the columns of one parity alone. The others are then those of the tensor.
    """
    shape = tensor.value.shape
    if buffer.shape == shape:
        return buffer
    if buffer.ndim != 3 or not shape or shape[0] != 1:
        return None
    height, width, lanes = buffer.shape
    if len(shape) == 4 and shape[2:] == (height, width) and shape[1] <= lanes:
        return buffer[:, :, : shape[1]].transpose(2, 0, 1)[None]
    if len(shape) == 4 and shape[2:] == (height, 2 * width) and shape[1] <= lanes:
        return _with_columns(tensor.value, buffer[:, :, : shape[1]].transpose(2, 0, 1)[None])
    if len(shape) == 3 and shape[1:] == (height, width):
        return buffer[None, :, :, tensor.cls % lanes]
    if len(shape) == 2 and height == width == 1 and shape[1] <= lanes:
        return buffer[0, :, : shape[1]]
    return None


def _with_columns(whole: np.ndarray, half: np.ndarray) -> np.ndarray:
    """A map with its even or its odd columns replaced, those from which `half` differs less."""
    parity = min((0, 1), key=lambda p: int((whole[..., p::2] != half).sum()))
    replaced = whole.copy()
    replaced[..., parity::2] = half
    return replaced


def _difference(nest: int, tensor: Tensor, got: np.ndarray) -> Difference:
    places = np.argwhere(got != tensor.value)
    index = tuple(int(i) for i in places[0])
    return Difference(nest, tensor.name, index, int(tensor.value[index]), int(got[index]), len(places))
