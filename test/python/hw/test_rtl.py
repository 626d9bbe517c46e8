"""Whole networks through the compiler: RTL and scheduled IR against the integer reference; rules of the memory plan."""

import os
import shutil

import numpy as np
import pytest
import rtl_networks
from rtl_checks import check_design, nest_lengths
from rtl_networks import Network, design, random_network, scheduled, second_network
from torch import nn
from torch_mlir import ir

from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.jit import compile_affine
from gradcam.models import tinyml_resnet18
from gradcam.output import compile_to_folder
from gradcam.passes.ir.attributes import ENGINE
from gradcam.passes.ir.queries import is_argument, is_global, is_scalar
from gradcam.passes.program.banks import banks_of, place_of, ring_of
from gradcam.passes.program.nest import read_nests
from gradcam.passes.program.runs import issue_groups_of
from gradcam.schema.derived import overlaps
from gradcam.sim import Simulator
from gradcam.sim.check import check_outputs
from gradcam.sim.trace import load_quantized

#: Number of random networks that are simulated in RTL; each takes 5 to 30 seconds, so none by default.
FUZZ = int(os.environ.get("GRADCAM_FUZZ_RTL", "0"))


DESIGNS = [
    (rtl_networks.windows, "8x8"),
    (rtl_networks.sums, "4x4"),
    (rtl_networks.pools, "8x16"),
    (rtl_networks.wide, "16x8"),
    (rtl_networks.point, "4x16"),
    (rtl_networks.flat, "4x8"),
    (rtl_networks.table, "4x4"),
    (rtl_networks.last_layer, "32x32"),
    (rtl_networks.single, "1x1"),
]


@pytest.mark.parametrize(("network", "pe"), DESIGNS, ids=[f"{n.__name__}-{pe}" for n, pe in DESIGNS])
def test_rtl_equals_the_integer_reference(network, pe, tmp_path):
    net = network()
    design(net, pe, tmp_path / "design")
    check_design(net, tmp_path / "design")


@pytest.mark.skipif(not FUZZ, reason="takes long; GRADCAM_FUZZ_RTL=50 runs 50 networks")
@pytest.mark.parametrize("seed", range(max(1, FUZZ)))
def test_random_rtl_equals_the_integer_reference(seed, tmp_path):
    net, pe = random_network(seed)
    design(net, pe, tmp_path / "design")
    inner = r".*\.(parts|rows|columns|halves|high|sums|unfold)(\.\d+)?"
    check_design(net, tmp_path / "design", inner=inner, distinct=False)


def test_the_demo_network(tmp_path):
    model = tinyml_resnet18()
    folder = tmp_path / "design"
    compile_to_folder(model, "demo", rtl_networks.Settings("layer4"), folder)
    simulator = Simulator(folder)
    image = np.random.default_rng(0).integers(-127, 128, simulator.program.inputs[0].shape).astype(np.int8)
    image = np.ascontiguousarray(image.transpose(2, 0, 1))
    (result,) = simulator.run(image[None])
    check_outputs(result, load_quantized(simulator.design), image)
    assert result.nest_cycles == nest_lengths(folder)


# The second network.


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """A network, its output folder and its report; tests copy the folder before they change it."""
    net, folder = second_network(), tmp_path_factory.mktemp("second") / "design"
    report = design(net, "16x16", folder)
    return net, folder, report


def test_a_second_network(second):
    net, folder, report = second
    check_design(net, folder, 6)
    lengths = nest_lengths(folder)
    hidden = [lengths[o.number] - o.added_cycles for o in overlaps(Design.load(folder).program)]
    assert hidden and report.cycles.total == sum(lengths) - sum(hidden)
    assert report.overhead < 0.05


def test_stalls_change_only_issue_groups_with_a_stream(second):
    net, folder, _ = second
    simulator, images = Simulator(folder), net.images(1)
    (free,) = simulator.run(images)
    phases, issue_groups = [nest.phase for nest in simulator.program.nests], simulator.program.issue_groups
    streaming = {group for group, phase in zip(issue_groups, phases, strict=True) if phase in ("load", "store")}
    for seed in range(8):
        (late,) = simulator.run(images, stall_seed=seed, stall=(0.1 * seed, 0.8 - 0.1 * seed))
        for name, value in free.outputs.items():
            np.testing.assert_array_equal(late.outputs[name], value)
        for group, a, b in zip(issue_groups, free.nest_cycles, late.nest_cycles, strict=True):
            assert a == b or (group in streaming and b > a)


def test_a_run_leaves_nothing_behind(second):
    net, folder, _ = second
    a, b = net.images(2)
    order = np.stack([a, b, b, a, a, b])
    classes = [-1, 3, -1, 6, -1, 3]
    together = Simulator(folder).run(order, classes)
    for image, cls, result in zip(order, classes, together, strict=True):
        (alone,) = Simulator(folder).run(image[None], cls)
        for name, value in alone.outputs.items():
            np.testing.assert_array_equal(result.outputs[name], value)
        assert result.nest_cycles == alone.nest_cycles


def flip(path, bit):
    """Flips a bit in lane 0 of the first word whose lane 0 is not zero."""
    lines = path.read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if int(line[-2:], 16))
    lines[row] = f"{int(lines[row], 16) ^ (1 << bit):0{len(lines[row])}x}"
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(("memory", "bit"), [("weights", 6), ("biases", 10), ("multipliers", 12)])
def test_a_flipped_bit_is_caught(second, tmp_path, memory, bit):
    net, folder, _ = second
    copy = shutil.copytree(folder, tmp_path / "copy")
    flip(copy / f"mem/{memory}.hex", bit)
    with pytest.raises(GradcamError, match=rf"mem/{memory}.hex is truncated or was changed") as caught:
        Simulator(copy)
    assert "\n" not in str(caught.value)
    simulator, images = Simulator(copy, verify=False), net.images(2)
    module = load_quantized(simulator.design)
    for image, result in zip(images, simulator.run(images), strict=True):
        with pytest.raises(GradcamError, match="in the integer reference"):
            check_outputs(result, module, image)


# Scheduled IR, without RTL.


def run_scheduled(module, image, cls, explained):
    arguments = [np.ascontiguousarray(image.transpose(1, 2, 0)), np.array([cls], np.int32)][: 1 + explained]
    return compile_affine(module, len(arguments), optimize=0)(*arguments)


def differs(module, images, cls, expected):
    """Whether any output of the scheduled module differs from the reference's."""
    found = False
    for image, wanted in zip(images, expected, strict=True):
        got = run_scheduled(module, image, cls, len(wanted) > 1)
        found |= any((g != w[0]).any() for g, w in zip(got, wanted, strict=True))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_random_schedules(seed):
    """The scheduled IR computes what the integer reference does, and its memory plan holds."""
    net, pe = random_network(seed)
    images, cls = net.images(1, seed), -1 if seed % 2 else 1
    module, expected = scheduled(net, pe, images, cls if net.target is not None else -1)
    assert not differs(module, images, cls, expected)
    assert plan_faults(module) == []


def test_a_changed_weight_changes_the_result():
    net = rtl_networks.sums()
    module, expected = scheduled(net, "4x4", net.images(1))
    assert not differs(module, net.images(1), -1, expected)
    with module.context, ir.Location.unknown():
        tables = [o for o in module.body.operations if o.operation.name == "memref.global"]
        weights = max(tables, key=lambda o: np.array(ir.DenseElementsAttr(o.attributes["initial_value"])).size)
        old = ir.DenseElementsAttr(weights.attributes["initial_value"])
        values = np.array(old)
        values.flat[np.flatnonzero(values)[0]] ^= 0x40
        weights.attributes["initial_value"] = ir.DenseElementsAttr.get(values, type=old.type)
    assert differs(module, net.images(1), -1, expected)


# The memory plan.


def in_memory(accesses):
    return [a for a in accesses if not is_argument(a.memref) and not is_scalar(a.memref)]


def is_same_element(load, store):
    """Whether a nest stores, in every step, just the element that it loads."""
    return (load.index, load.strides, load.extents) == (store.index, store.strides, store.extents)


def plan_faults(module):
    """The faults of a memory plan: buffers that overlap while both are alive, and ports used twice in a cycle.

    A buffer may overlap one that is read for the last time where it is written for the first, element by element.
    """
    with module.context:
        banks, alive, program = banks_of(module), {}, read_nests(module)
        faults, ports, replaced = [], {}, set()
        for number, nest in zip(issue_groups_of(program), program, strict=True):
            for port, accesses in (("reads", in_memory(nest.loads)), ("writes", in_memory(nest.stores))):
                used = ports.setdefault((number, port), [])
                engine, reached = ENGINE.get(nest.op), [place_of(a.memref)[0] for a in accesses]
                # Nests of a group that have one engine run one after the other.
                taken = reached + [bank for other, bank in used if other != engine]
                faults += [f"{nest.name} {port} {bank} twice" for bank in set(reached) if taken.count(bank) > 1]
                used += [(engine, bank) for bank in reached]
            replaced |= {
                (x.memref, y.memref) for x in in_memory(nest.loads) for y in nest.stores if is_same_element(x, y)
            }
            for access in in_memory(nest.loads + nest.stores):
                first, _ = alive.get(access.memref, (number, number))
                alive[access.memref] = (0, len(program)) if is_global(access.memref) else (first, number)
        words = {}
        for memref, (first, last) in alive.items():
            bank, offset = place_of(memref)
            ring = ring_of(memref)
            elements = ring or int(np.prod(ir.MemRefType(memref.type).shape))
            if ring and offset % -(-ring // banks[bank].lanes):
                faults.append(f"a ring of {ring} elements starts at word {offset}")
            end = offset + -(-elements // banks[bank].lanes)
            if end > banks[bank].words:
                faults.append(f"a buffer ends at word {end} of {bank}, which has {banks[bank].words}")
            for other in words.setdefault(bank, []):
                met = offset < other[1] and other[0] < end and first <= other[3] and other[2] <= last
                pair = (other[4], memref) if other[3] == first else (memref, other[4])
                in_place = offset == other[0] and (other[3] == first or last == other[2]) and pair in replaced
                if met and not in_place:
                    faults.append(f"two buffers overlap in {bank} from word {max(offset, other[0])}")
            words[bank].append((offset, end, first, last, memref))
    return faults


def test_a_bad_plan_is_found():
    net = Network(3, 6, 6)
    x = net.conv(0, 4)
    net.explain(net.add(rtl_networks.Sum(), net.conv(x, 4), x))
    net.add(nn.AdaptiveAvgPool2d(1))
    module, _ = scheduled(net.classify(3), "4x4", net.images(1))
    assert plan_faults(module) == []
    with module.context:
        allocations = {
            a.memref: a.memref.owner for n in read_nests(module) for a in in_memory(n.stores) if a.element_bits == 8
        }
        zero = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), 0)
        for owner in allocations.values():
            owner.attributes["gradcam.offset"] = zero
            owner.attributes["gradcam.bank"] = ir.StringAttr.get("bank0")
    faults = plan_faults(module)
    assert any("twice" in fault for fault in faults)
    assert any("overlap" in fault for fault in faults)
