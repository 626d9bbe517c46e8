"""Scheduled nests in Python: linear forms, accesses, address deltas, engines and the memory plan."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_mlir import ir

from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.passes.ir.linear_form import access_forms, guard_forms, map_forms, plus, substitute, symbol
from gradcam.passes.ir.queries import main_function
from gradcam.passes.program.engines import collect, engine_key, signature
from gradcam.passes.program.nest import read_nests
from gradcam.passes.schedule.assign_cycles import AssignCycles
from gradcam.passes.schedule.duplicate_buffers import DuplicateBuffers
from gradcam.passes.schedule.form_engines import FormEngines
from gradcam.passes.schedule.plan_memory import PlanMemory

pytestmark = pytest.mark.usefixtures("context")


def parse(body, arguments="", before=""):
    return ir.Module.parse(f"{before}\nfunc.func @main({arguments}) {{\n{body}\nreturn\n}}")


def evaluate(form, point):
    """The value of a linear form whose terms have the values of `point`."""
    return sum(c * (1 if term is None else point[term]) for term, c in form.items())


# Linear forms.

AFFINE = st.recursive(
    st.one_of(st.integers(-9, 9).map(str), st.sampled_from(["d0", "d1", "d2"])),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("({0[0]} + {0[1]})".format),
        st.tuples(inner, inner).map("({0[0]} - {0[1]})".format),
        st.tuples(inner, st.integers(-4, 4)).map("({0[0]} * {0[1]})".format),
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(AFFINE, st.tuples(*[st.integers(-20, 20)] * 3))
def test_a_linear_form_has_the_value_of_its_expression(text, point):
    with make_context(), ir.Location.unknown() as place:
        map_ = ir.AffineMapAttr(ir.Attribute.parse(f"affine_map<(d0, d1, d2) -> ({text})>")).value
        (form,) = map_forms(place, map_, [{0: 1}, {1: 1}, {2: 1}])
    assert evaluate(form, point) == eval(text, dict(zip(("d0", "d1", "d2"), point, strict=True)))
    assert all(form.values())  # no coefficient is 0


def test_plus_and_substitute():
    assert plus({"a": 2, None: 1}, {"a": 1, "b": 3}, -2) == {"b": -6, None: 1}
    assert plus({None: 5}, {}, 7) == {None: 5}
    assert substitute({0: 3, 1: 1, None: 2}, {0: {"i": 4, None: 1}, 1: {"i": -12}}) == {None: 5}


@pytest.mark.parametrize(
    "build",
    [
        lambda d0, d1, s0: ir.AffineExpr.get_mul(d0, d1),
        lambda d0, d1, s0: ir.AffineExpr.get_mod(d0, 2),
        lambda d0, d1, s0: ir.AffineExpr.get_floor_div(d0 + 1, 2),
        lambda d0, d1, s0: ir.AffineExpr.get_mod(s0 * 2 + d0, 4),
        lambda d0, d1, s0: ir.AffineExpr.get_mod(ir.AffineExpr.get_mod(s0, 4) + 1, 2),
    ],
)
def test_what_is_not_linear_is_refused(build):
    expression = build(ir.AffineDimExpr.get(0), ir.AffineDimExpr.get(1), ir.AffineSymbolExpr.get(0))
    with pytest.raises(GradcamError, match="is not linear"):
        map_forms(ir.Location.unknown(), ir.AffineMap.get(2, 1, [expression]), [{0: 1}, {1: 1}], [symbol(None)])


def test_symbols_and_guards_of_an_access():
    module = parse(
        """
        %zero = arith.constant 0 : i8
        %c0 = arith.constant 0 : index
        %v = memref.load %p[%c0] : memref<1xi32>
        %c = arith.index_cast %v : i32 to index
        affine.for %i = 0 to 4 {
          %g = affine.if affine_set<(d0)[s0] : (d0 * 2 - 1 >= 0, -d0 + s0 + 6 >= 0)>(%i)[%c] -> i8 {
            %l = affine.load %x[%i + 3, symbol(%c) mod 4] : memref<9x9xi8>
            affine.yield %l : i8
          } else {
            affine.yield %zero : i8
          }
        }""",
        "%x: memref<9x9xi8>, %p: memref<1xi32>",
    )
    loop = main_function(module).regions[0].blocks[0].operations[4]
    iv, if_ = loop.regions[0].blocks[0].arguments[0], loop.regions[0].blocks[0].operations[0]
    load = if_.regions[0].blocks[0].operations[0]
    index = main_function(module).regions[0].blocks[0].operations[3].results[0]
    assert access_forms(load, list(load.operands)[1:]) == [{iv: 1, None: 3}, {("mod", index, 4): 1}]
    assert guard_forms(if_) == [{iv: 2, None: -1}, {iv: -1, ("floordiv", index, 1): 1, None: 6}]


# Nests.


def copy_nest(read, write, indices, trips, lanes=1, name="copy"):
    """A nest over `trips` that copies `read[f"{indices}"]` to `write[i0, i1, ..., lane]`; both are (name, type)."""
    loops = "".join(f"affine.for %i{n} = 0 to {t} {{\n" for n, t in enumerate(trips))
    target = ", ".join([*(f"%i{n}" for n in range(len(trips))), "%l"])
    return f"""{loops}affine.parallel (%l) = (0) to ({lanes}) {{
        %v = affine.load {read[0]}[{indices}] : {read[1]}
        affine.store %v, {write[0]}[{target}] : {write[1]}
      }}
      {"}" * len(trips)} loc("{name}")
    """


def test_an_access_touches_the_elements_that_numpy_says():
    module = parse(
        copy_nest(("%x", "memref<7x9x8xi8>"), ("%y", "memref<3x2x4xi8>"), "%i0 * 2 + 1, %i1 * 3, %l + 4", (3, 2), 4),
        "%x: memref<7x9x8xi8>, %y: memref<3x2x4xi8>",
    )
    (nest,) = read_nests(module)
    (load,), (store,) = nest.loads, nest.stores
    assert (nest.name, [loop.trip for loop in nest.loops], nest.steps) == ("copy", [3, 2], 6)
    assert (load.lanes, load.element_bits, load.strides) == (4, 8, (1,))
    for i, j, lane in product(range(3), range(2), range(4)):
        point = dict(zip((loop.iv for loop in nest.loops), (i, j), strict=True))
        assert evaluate(load.index, point) + lane == np.ravel_multi_index((i * 2 + 1, j * 3, lane + 4), (7, 9, 8))
        assert evaluate(store.index, point) + lane == np.ravel_multi_index((i, j, lane), (3, 2, 4))


PRODUCT = """
affine.for %n = 0 to {outer} {{
  affine.parallel (%o) = (0) to (2) {{
    affine.store %initial, %acc[%o] : memref<2xi32>
  }}
  affine.for %a = 0 to {first} {{
    affine.for %b = 0 to {second} {{
      affine.parallel (%o) = (0) to (2) {{
        %s = affine.parallel (%i) = (0) to (4) reduce ("addi") -> (i32) {{
          %xv = affine.load %x[%n * {sn} + %a * {sa} + %b * {sb} + {base}, %i] : memref<999x4xi8>
          %wv = affine.load %w[%a, %b, %o, %i] : memref<9x9x2x4xi8>
          %xe = arith.extsi %xv : i8 to i32
          %we = arith.extsi %wv : i8 to i32
          %p = arith.{op} %xe, %we : i32
          affine.yield %p : i32
        }}
        %c = affine.load %acc[%o] : memref<2xi32>
        %t = arith.addi %c, %s : i32
        affine.store %t, %acc[%o] : memref<2xi32>
      }}
    }}
  }}
  affine.parallel (%o) = (0) to (2) {{
    %c = affine.load %acc[%o] : memref<2xi32>
    %k = arith.constant {constant} : i32
    %t = arith.{last} %c, %k : i32
    affine.store %t, %y[%n, %o] : memref<99x2xi32>
  }}
}}
"""
PLAIN = {
    "outer": 2, "first": 3, "second": 2, "sn": 7, "sa": 2, "sb": 1, "base": 0,
    "op": "muli", "last": "addi", "constant": 5,
}  # fmt: skip


def products(*changes, initial="0"):
    """A module with a nest per entry of `changes`, each like PLAIN with some numbers changed, as input of `collect`."""
    body = "".join(PRODUCT.format(**PLAIN | change) for change in changes)
    head = f"""%initial = arith.constant {initial} : i32
      %x = memref.alloc() : memref<999x4xi8>
      %y = memref.alloc() : memref<99x2xi32>
      %acc = memref.alloca() : memref<2xi32>
      %w = memref.get_global @w : memref<9x9x2x4xi8>
    """
    out = copy_nest(("%y", "memref<99x2xi32>"), ("%out", "memref<99x2x1xi32>"), "%i0, %i1", (99, 2))
    constant = 'memref.global "private" constant @w : memref<9x9x2x4xi8> = dense<1>'
    return parse(head + body + out, "%out: memref<99x2x1xi32>", constant)


TRIP = st.integers(1, 4)
ROW = st.fixed_dictionaries(
    {"outer": TRIP, "first": TRIP, "second": TRIP}
    | {name: st.integers(0, 9) for name in ("sn", "sa", "sb", "base", "constant")}
)


def walk(trips, start, deltas):
    """Addresses step by step: each step adds the delta of the outermost loop that advances."""
    counters, address, found = [0] * len(trips), start, []
    for _ in range(int(np.prod(trips))):
        found.append(address)
        ticking = len(trips) - 1
        while ticking > 0 and counters[ticking] == trips[ticking] - 1:
            counters[ticking] = 0
            ticking -= 1
        counters[ticking] += 1
        address += deltas[ticking]
    return found


def brute_force(trips, strides, start):
    return [start + sum(s * i for s, i in zip(strides, point, strict=True)) for point in product(*map(range, trips))]


@settings(max_examples=25, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=3))
def test_deltas_walk_through_the_addresses_of_every_configuration(rows):
    with make_context(), ir.Location.unknown():
        module = products(*rows)
        for pass_ in (FormEngines(), PlanMemory(), AssignCycles()):
            pass_.run(module)
        engine = next(e for e in collect(read_nests(module)) if e.name == "mac")
        assert len(engine.configurations) == len(rows)
        slot = next(s for s in engine.slots if s.name == "x")
        for nest, access, row in zip(engine.configurations, slot.accesses, rows, strict=True):
            trips = [row["outer"], row["first"], row["second"]]
            strides = [4 * row[n] for n in ("sn", "sa", "sb")]
            assert engine.trips(nest) == trips
            deltas = engine.deltas(nest, access.index)
            wanted = brute_force(trips, strides, 4 * row["base"])
            assert walk(trips, access.index.get(None, 0), deltas) == wanted


def test_the_walk_catches_a_wrong_delta():
    trips, strides = [2, 3, 2], [28, 8, 4]
    deltas = [28 - 8 * 2 - 4, 8 - 4, 4]  # by hand: c_l minus what the inner loops have added up
    assert walk(trips, 3, deltas) == brute_force(trips, strides, 3)
    assert walk(trips, 3, [28, 8, 4]) != brute_force(trips, strides, 3)


def test_rows_of_different_depth_are_aligned_at_the_innermost_loop():
    shallow = copy_nest(("%x", "memref<9x9xi8>"), ("%y", "memref<9x1xi8>"), "0, %i0", (5,))
    deep = copy_nest(("%x", "memref<9x9xi8>"), ("%z", "memref<9x9x1xi8>"), "%i0, %i1", (3, 2))
    buffers = "".join(f"%{n} = memref.alloc() : memref<{t}xi8>\n" for n, t in (("y", "9x1"), ("z", "9x9x1")))
    out = copy_nest(("%z", "memref<9x9x1xi8>"), ("%out", "memref<1x1xi8>"), "0, 0, 0", (1,))
    module = parse("%x = memref.alloc() : memref<9x9xi8>\n" + buffers + shallow + deep + out, "%out: memref<1x1xi8>")
    for pass_ in (FormEngines(), PlanMemory(), AssignCycles()):
        pass_.run(module)
    engine = next(e for e in collect(read_nests(module)) if e.name == "elementwise")
    short, long = engine.configurations
    assert [engine.trips(n) for n in (short, long)] == [[1, 5], [3, 2]]
    assert engine.loops(short)[0] is None
    assert engine.deltas(short, short.loads[0].index)[1] == 1


# Engines.


def keys(module):
    found = [n for n in read_nests(module) if n.body is not None]
    return [engine_key(n) for n in found], [signature(n.epilogue, n.outputs) for n in found]


def test_nests_that_differ_in_constants_only_share_engine_and_epilogue():
    bodies, epilogues = keys(products({}, {"outer": 4, "first": 1, "sn": 1, "base": 9, "constant": -8}))
    assert bodies[0] == bodies[1]
    assert epilogues[0] == epilogues[1]


def test_another_body_is_another_engine_and_another_epilogue_is_not():
    bodies, epilogues = keys(products({}, {"op": "addi"}, {"last": "maxsi"}))
    assert bodies[0] != bodies[1]
    assert bodies[0] == bodies[2]
    assert epilogues[0] == epilogues[1]
    assert epilogues[0] != epilogues[2]


def lookup(entries="[1, 2, 3, 4]", index="arith.index_castui"):
    """A nest that looks bytes of two bits up in a constant."""
    count = entries.count(",") + 1
    body = f"""%x = memref.alloc() : memref<9x2xi2>
      %y = memref.alloc() : memref<9x2xi8>
      %t = memref.get_global @t : memref<{count}xi8>
      affine.for %i = 0 to 9 {{
        affine.parallel (%l) = (0) to (2) {{
          %a = affine.load %x[%i, %l] : memref<9x2xi2>
          %n = {index} %a : i2 to index
          %v = memref.load %t[%n] : memref<{count}xi8>
          affine.store %v, %y[%i, %l] : memref<9x2xi8>
        }}
      }}"""
    return parse(body, before=f'memref.global "private" constant @t : memref<{count}xi8> = dense<{entries}>')


def test_a_lookup_reads_no_memory_and_tables_are_constants_of_a_configuration():
    modules = lookup(), lookup("[4, 3, 2, 1]")  # a nest does not keep its module alive
    (nest,), (other,) = map(read_nests, modules)
    assert [a.memref.type.shape for a in nest.loads] == [[9, 2]]
    (table,) = [n for n in nest.epilogue.nodes if n.kind == "table"]
    assert table.what == (1, 2, 3, 4) and table.bits == 8 and table.dims == {0}
    assert signature(nest.epilogue, nest.outputs) == signature(other.epilogue, other.outputs)


@pytest.mark.parametrize("changed", [{"entries": "[1, 2, 3]"}, {"index": "arith.index_cast"}])
def test_a_lookup_needs_an_entry_for_each_bit_pattern(changed):
    with pytest.raises(GradcamError, match="with an entry for each of its bit patterns"):
        read_nests(lookup(**changed))


def test_another_initial_value_is_another_engine():
    assert keys(products({}))[0] != keys(products({}, initial="1"))[0]


# The memory plan.


def chain(reads):
    """A program in which nest k writes buffer k and reads the buffers `reads[k]`, numbers below k.

    The last buffer is read by the output.
    """
    count, body = len(reads), ""
    for k in range(count):
        body += f"%b{k} = memref.alloc() : memref<{k + 2}x4xi8>\n"
    for k, sources in enumerate(reads):
        loads = "".join(f"%v{i} = affine.load %b{s}[0, %l] : memref<{s + 2}x4xi8>\n" for i, s in enumerate(sources))
        first = "%v0" if sources else "%one"
        sums = [first, *(f"%s{i}" for i in range(1, len(sources)))]
        adds = "".join(f"%s{i} = arith.addi {sums[i - 1]}, %v{i} : i8\n" for i in range(1, len(sources)))
        body += f"""affine.for %i = 0 to {k + 2} {{
          affine.parallel (%l) = (0) to (4) {{
            {loads}{adds}affine.store {sums[-1]}, %b{k}[%i, %l] : memref<{k + 2}x4xi8>
          }}
        }}
        """
    last = f"memref<{count + 1}x4xi8>"
    body += copy_nest((f"%b{count - 1}", last), ("%out", "memref<1x4xi8>"), "0, %l", (1,), 4)
    return parse("%one = arith.constant 1 : i8\n" + body, "%out: memref<1x4xi8>")


def check_plan(module, reads):
    """Buffers that live at the same time lie apart; buffers read in one cycle lie in different banks.

    Lifetimes come from `reads`, the description of the program.
    """
    banks = {e.name: ir.DictAttr(e.attr) for e in ir.DictAttr(module.operation.attributes["gradcam.banks"])}
    buffers = [o for o in main_function(module).regions[0].blocks[0].operations if o.operation.name == "memref.alloc"]
    places = [
        (ir.StringAttr(b.attributes["gradcam.bank"]).value, ir.IntegerAttr(b.attributes["gradcam.offset"]).value)
        for b in buffers
    ]
    readers = [*reads, [len(reads) - 1]]
    ends = [max((k for k, sources in enumerate(readers) if n in sources), default=n) for n in range(len(reads))]
    for n, (bank, offset) in enumerate(places):
        assert offset >= 0 and offset + n + 2 <= ir.IntegerAttr(banks[bank]["words"]).value
        for m in range(n):
            if places[m][0] == bank and ends[m] >= n:
                assert offset >= places[m][1] + m + 2 or places[m][1] >= offset + n + 2, f"{m} and {n} overlap"
    for sources in readers:
        assert len({places[s][0] for s in sources}) == len(sources), f"{sources} are read from one bank"


READS = st.integers(1, 6).flatmap(
    lambda count: st.tuples(
        *(st.lists(st.integers(0, max(0, k - 1)), unique=True, max_size=min(k, 3)) for k in range(count))
    )
)


@settings(max_examples=40, deadline=None)
@given(READS)
def test_the_plan_keeps_apart_what_meets(reads):
    with make_context(), ir.Location.unknown():
        module = chain(reads)
        PlanMemory().run(module)
        check_plan(module, reads)


def test_the_check_catches_overlaps_and_shared_ports():
    reads = [[], [], [0, 1], [2, 0]]
    module = chain(reads)
    PlanMemory().run(module)
    check_plan(module, reads)
    buffers = [o for o in main_function(module).regions[0].blocks[0].operations if o.operation.name == "memref.alloc"]
    bank = buffers[1].attributes["gradcam.bank"]
    buffers[1].attributes["gradcam.bank"] = buffers[0].attributes["gradcam.bank"]
    with pytest.raises(AssertionError):
        check_plan(module, reads)
    buffers[1].attributes["gradcam.bank"] = bank
    for buffer in buffers:
        buffer.attributes["gradcam.bank"] = ir.StringAttr.get("bank0")
    with pytest.raises(AssertionError):
        check_plan(module, reads)


def test_dead_buffers_are_written_over():
    module = chain([[], [0], [1], [2], [3]])
    PlanMemory().run(module)
    banks = ir.DictAttr(module.operation.attributes["gradcam.banks"])
    words = sum(ir.IntegerAttr(ir.DictAttr(b.attr)["words"]).value for b in banks)
    assert words < sum(k + 2 for k in range(5))


def test_a_buffer_read_twice_needs_a_copy():
    body = """%x = memref.alloc() : memref<8xi8>
      affine.for %i = 0 to 7 {
        affine.parallel (%l) = (0) to (1) {
          %a = affine.load %x[%i] : memref<8xi8>
          %b = affine.load %x[%i + 1] : memref<8xi8>
          %s = arith.addi %a, %b : i8
          affine.store %s, %out[%i] : memref<7xi8>
        }
      }"""
    module = parse(body, "%out: memref<7xi8>")
    with pytest.raises(GradcamError, match="run gradcam-duplicate-buffers first"):
        PlanMemory().run(module)
    DuplicateBuffers().run(module)
    PlanMemory().run(module)
    (nest,) = read_nests(module)
    assert len({a.memref for a in nest.loads}) == 2
