"""The view of a scheduled program: read once per compile, and always what the IR says."""

import json
from dataclasses import replace

import pytest
import rtl_networks
from torch_mlir import ir

from gradcam.compiler import Compilation
from gradcam.errors import GradcamError
from gradcam.output import compile_to_folder
from gradcam.passes.infra.analyses import keeping
from gradcam.passes.infra.pass_manager import Instrumentation, PassManager
from gradcam.passes.ir.attributes import BANKS, STAGE
from gradcam.passes.program import nest, scheduled_program
from gradcam.passes.program.nest import read_nests
from gradcam.passes.program.scheduled_program import ScheduledProgram
from gradcam.passes.schedule import tile_pixels


def facts(nests):
    """All that a nest says, in a form that compares."""
    return [
        (
            n.op,
            [(loop.op, loop.trip) for loop in n.loops],
            [(a.op, a.memref, a.index, a.strides, a.extents, a.guards, a.otherwise) for a in (*n.loads, *n.stores)],
            [[(node.kind, node.op, node.dims, node.reduced) for node in flow.nodes] for flow in n.flows],
            [[sink.op for sink in flow.sinks] for flow in n.flows],
        )
        for n in nests
    ]


class Compare(Instrumentation):
    """Compares what is kept before a pass with what the IR says."""

    def __init__(self):
        self.compared, self.differences = [], []

    def before(self, name, module):
        """Before `name`."""
        if isinstance(module, ir.Module) and any(o.operation.name == "affine.for" for o in self.operations(module)):
            try:
                fresh = read_nests(module)
            except GradcamError:  # not scheduled yet
                return
            self.compared.append(name)
            if facts(ScheduledProgram.of(module).nests) != facts(fresh):
                self.differences.append(name)

    def operations(self, module):
        """The ops of the function."""
        function = next(o for o in module.body.operations if o.operation.name == "func.func")
        return function.regions[0].blocks[0].operations


@pytest.mark.parametrize("weights", ["onchip", "dram"])
def test_what_passes_hand_on_is_what_the_ir_says(weights):
    net, compare = rtl_networks.sums(), Compare()
    settings = replace(net.settings("4x4"), weights=weights, dram_width=16 if weights == "dram" else None)
    with keeping():
        Compilation(net, settings, [compare]).to("hw")
    assert compare.compared[-2:] == ["gradcam-assign-cycles", "convert-affine-to-hw"]
    assert len(compare.compared) == (10 if weights == "onchip" else 12)
    assert compare.differences == []


def test_what_is_handed_on_wrongly_is_caught():
    """The comparison sees a nest that was changed behind the program's back."""
    net, compare = rtl_networks.sums(), Compare()
    module = Compilation(net, net.settings("4x4")).to("scheduled")
    with keeping(), module.context:
        last = ScheduledProgram.of(module).nests[-1].op
        with ir.InsertionPoint.after(last):
            last.operation.clone()
        compare.before("convert-affine-to-hw", module)
    assert compare.differences == ["convert-affine-to-hw"]


def test_a_compile_reads_every_nest_at_most_three_times(monkeypatch, tmp_path):
    """And once more where gradcam-tile-pixels has rebuilt it."""
    read, calls, rebuild, rebuilt = nest.read_nest, [], tile_pixels.rebuild, []

    def counted_rebuild(*arguments):
        rebuilt.append(arguments)
        return rebuild(*arguments)

    monkeypatch.setattr(tile_pixels, "rebuild", counted_rebuild)

    def counted(op):
        calls.append(op)
        return read(op)

    for module in (nest, scheduled_program):
        monkeypatch.setattr(module, "read_nest", counted)
    net = rtl_networks.sums()
    for weights in ("onchip", "dram"):
        calls.clear()
        rebuilt.clear()
        settings = replace(net.settings("4x4"), weights=weights, dram_width=16 if weights == "dram" else None)
        compile_to_folder(net, "test", settings, tmp_path / weights)
        program = json.loads((tmp_path / weights / "program.json").read_text())
        assert len(program["nests"]) <= len(calls) - len(rebuilt) <= 3 * len(program["nests"])


def test_a_pass_that_only_asks_writes_nothing():
    net = rtl_networks.sums()
    module = Compilation(net, net.settings("4x4")).to("affine")
    names = [
        "stream-inputs",
        "split-time-space",
        "choose-schedule",
        "duplicate-buffers",
        "form-engines",
        "overlap-nests",
    ]
    PassManager.parse(",".join(f"gradcam-{name}" for name in names)).run(module)
    assert STAGE.key not in str(module)
    PassManager.parse("gradcam-plan-memory,gradcam-assign-cycles").run(module)
    assert STAGE.key in str(module)


def test_a_missing_pass_is_named():
    net = rtl_networks.sums()
    program = ScheduledProgram(Compilation(net, net.settings("4x4")).to("scheduled"))
    del program.module.operation.attributes[BANKS.key]
    with pytest.raises(GradcamError, match=r"the module has no 'gradcam\.banks'; run gradcam-plan-memory first"):
        _ = program.banks
