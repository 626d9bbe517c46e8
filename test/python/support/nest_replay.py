"""Small programs of nests side by side, and the hardware that runs them cycle by cycle."""

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from types import MappingProxyType

from torch_mlir import ir

from gradcam.passes.infra.pass_manager import PassManager
from gradcam.passes.program.banks import ring_of
from gradcam.passes.program.nest import read_nests
from gradcam.passes.program.runs import follows_of, issue_groups_of

PASSES = "gradcam-form-engines,gradcam-overlap-nests,gradcam-plan-memory,gradcam-assign-cycles"


def pair_text(
    tiles=2, size=(6, 5), reduction=3, kernel=(3, 3), stride=(2, 2), padding=(1, 1), row="%h", tap=False, third=False
) -> str:
    """Sums of products by one engine into %y, whose rows are made in the order `row`; maxima of its windows into %z.

    With `tap` the elements of a window are multiplied by constants, one for each tap. With `third` the first engine
    then adds up products of the channels of a pixel of %z, and the rows of %x arrive in reverse: nothing follows them.
    """
    out = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(size, padding, kernel, stride, strict=True)]
    whole, pooled = (f"memref<{h}x{w}x{4 * tiles}xi8>" for h, w in (size, out))
    summed = f"memref<{out[0]}x{out[1]}x4xi8>"
    conditions = ", ".join(
        f"d{2 * i} * {s} + d{2 * i + 1} - {p} >= 0, -d{2 * i} * {s} - d{2 * i + 1} + {n - 1 + p} >= 0"
        for i, (n, s, p) in enumerate(zip(size, stride, padding, strict=True))
    )
    place = [f"%{d} * {s} + %k{d} - {p}" for d, s, p in zip("hw", stride, padding, strict=True)]

    def copy(source: str, target: str, type_: str, sizes, tiles: int, row: str = "%h") -> str:
        return f"""
  affine.for %h = 0 to {sizes[0]} {{ affine.for %w = 0 to {sizes[1]} {{ affine.for %c = 0 to {tiles} {{
    affine.parallel (%l) = (0) to (4) {{
      %v = affine.load {source}[%h, %w, %c * 4 + %l] : {type_}
      affine.store %v, {target}[{row}, %w, %c * 4 + %l] : {type_}
    }} }} }} }}"""

    def reduce(loops: str, value: str, combine: str, store: str) -> str:
        return f"""
    affine.parallel (%l) = (0) to (4) {{ affine.store %zero, %acc[%l] : memref<4xi8> }}
    {loops} affine.parallel (%l) = (0) to (4) {{
      {value}
      %a = affine.load %acc[%l] : memref<4xi8>
      %n = {combine} %a, %e : i8
      affine.store %n, %acc[%l] : memref<4xi8>
    }} {"}" * loops.count("{")}
    affine.parallel (%l) = (0) to (4) {{ %a = affine.load %acc[%l] : memref<4xi8>
      affine.store %a, {store} }}"""

    weighted = f"""%v = affine.load %x[%h, %w, %c * 4 + %l] : {whole}
      %u = affine.load %f[%k, %l] : memref<{reduction}x4xi8>
      %e = arith.muli %v, %u : i8"""
    padded = f"""%e = affine.if #inside(%h, %kh, %w, %kw) -> i8 {{
        %v = affine.load %y[{", ".join(place)}, %c * 4 + %l] : {whole}
        affine.yield %v : i8
      }} else {{ affine.yield %zero : i8 }}"""
    taps = f"memref<{kernel[0]}x{kernel[1]}x4xi8>"
    if tap:
        padded = padded.replace("%e = affine.if", "%p = affine.if")
        padded += f"%t = affine.load %g[%kh, %kw, %l] : {taps}\n%e = arith.muli %p, %t : i8"
    channels = f"""%v = affine.load %z[%h, %w, %k * 4 + %l] : {pooled}
      %u = affine.load %q[%k, %l] : memref<{tiles}x4xi8>
      %e = arith.muli %v, %u : i8"""
    last = ("%r", summed, 1) if third else ("%z", pooled, tiles)
    adds = f"""
  affine.for %h = 0 to {out[0]} {{ affine.for %w = 0 to {out[1]} {{
{reduce(f"affine.for %k = 0 to {tiles} {{", channels, "arith.addi", f"%r[%h, %w, %l] : {summed}")} }} }}"""
    terms = f"affine.for %k = 0 to {reduction} {{"
    windows = f"affine.for %kh = 0 to {kernel[0]} {{ affine.for %kw = 0 to {kernel[1]} {{"
    return f"""
#inside = affine_set<(d0, d1, d2, d3) : ({conditions})>
memref.global "private" constant @f : memref<{reduction}x4xi8> = dense<1>
memref.global "private" constant @g : {taps} = dense<1>
memref.global "private" constant @q : memref<{tiles}x4xi8> = dense<1>
func.func @main(%image: {whole}, %result: {last[1]}) {{
  %zero = arith.constant 0 : i8
  %f = memref.get_global @f : memref<{reduction}x4xi8>
  %g = memref.get_global @g : {taps}
  %x = memref.alloc() : {whole}
  %y = memref.alloc() : {whole}
  %z = memref.alloc() : {pooled}
  %q = memref.get_global @q : memref<{tiles}x4xi8>
  {f"%r = memref.alloc() : {summed}" if third else ""}
  %acc = memref.alloca() : memref<4xi8>
{copy("%image", "%x", whole, size, tiles, f"-%h + {size[0] - 1}" if third else "%h")}
  affine.for %c = 0 to {tiles} {{ affine.for %h = 0 to {size[0]} {{ affine.for %w = 0 to {size[1]} {{
{reduce(terms, weighted, "arith.addi", f"%y[{row}, %w, %c * 4 + %l] : {whole}")} }} }} }}
  affine.for %c = 0 to {tiles} {{ affine.for %h = 0 to {out[0]} {{ affine.for %w = 0 to {out[1]} {{
{reduce(windows, padded, "arith.maxsi", f"%z[%h, %w, %c * 4 + %l] : {pooled}")} }} }} }}
{adds if third else ""}
{copy(last[0], "%result", last[1], out, last[2])}
  return
}}"""


def scheduled(text: str, dram: bool = False) -> ir.Module:
    """The program of `text`, perhaps on a platform whose DRAM holds the constants, so that they may be late."""
    module = ir.Module.parse(text)
    PassManager.parse(f"gradcam-set-platform{{dram-width={64 * dram}}},{PASSES}").run(module)
    return module


def number_of(op, name: str) -> int:
    return ir.IntegerAttr(op.attributes[f"gradcam.{name}"]).value


def value(form, point) -> int:
    return sum(c * point.get(term, 1) for term, c in form.items())


def points(loops):
    for indices in product(*(range(loop.trip) for loop in loops)):
        yield {loop.iv: i for loop, i in zip(loops, indices, strict=True)}


def replay(module: ir.Module, late: Mapping[int, Sequence[int]] = MappingProxyType({})) -> tuple[int, dict[int, int]]:
    """Runs the nests that run side by side as the hardware does, cycle by cycle.

    Args:
        module: the program.
        late: by the number of a nest, how many cycles each of its steps is late, over and over.

    Returns:
        The number of reads that find another element in their place, and the cycle of the last step by the number of a
        nest; an issue group is issued in cycle 0.
    """
    program, wrong, lasts = read_nests(module), 0, {}
    follows = follows_of(program)
    written, before = {}, []  # by the producer: elements by cycle, and the cycles in which iterations are committed
    ends = {}  # by the number of a nest, the cycle in which its last store is done
    for number, nest in enumerate(program):
        follow, reads, writes, committed, now = follows.get(number - 1), {}, {}, [], 0
        if follow and follow.after:  # one cycle of issue
            now = ends[program.index(follow.after)] + 1
        if not follow and number not in follows:
            continue
        (store,), load = nest.stores, None
        if follow:
            (load,) = (a for a in nest.loads if a.memref == follow.producer.stores[0].memref)
        own = late.get(number, ())
        for step, point in enumerate(points(nest.loops)):
            now += 1 + (own[step % len(own)] if own else 0)
            if follow and step % follow.steps == 0:
                while now <= before[-1] and sum(t < now for t in before) < value(follow.need, point):
                    now += 1
            if load and all(value(guard, point) >= 0 for guard in load.guards):
                reads[now + number_of(load.op, "stage")] = value(load.index, point)
            if (step + 1) % prod(loop.trip for loop in nest.reduction) == 0:
                writes[now + number_of(store.op, "stage")] = value(store.index, point)
            if number in follows and (step + 1) % (nest.steps // follows[number].count) == 0:
                committed.append(now + number_of(store.op, "stage"))
        lasts[number], ends[number] = now, now + number_of(store.op, "stage")
        if load:
            wrong += lost(ring_of(load.memref) or 1 << 40, written, reads)
        written, before = writes, committed
    return wrong, lasts


def lost(size: int, writes, reads) -> int:
    """Reads, by cycle, of a ring that find another element than the one they want."""
    memory, wrong = {}, 0
    for cycle in range(max(*writes, *reads) + 1):
        if cycle in reads:  # before the write of the same cycle
            wrong += memory.get(reads[cycle] % size) != reads[cycle]
        if cycle in writes:
            memory[writes[cycle] % size] = writes[cycle]
    return wrong


def is_as_predicted(module: ir.Module, lasts) -> bool:
    """Whether the last steps are in the predicted cycles."""
    program = read_nests(module)
    groups = issue_groups_of(program)
    for number, last in lasts.items():
        op, depth = program[number].op, number_of(program[number].stores[0].op, "stage")
        begin, end = number_of(program[groups[number]].op, "start"), number_of(op, "end") + number_of(op, "drain")
        if begin + last + depth + 1 != end:
            return False
    return bool(lasts)
