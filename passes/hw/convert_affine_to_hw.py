"""convert-affine-to-hw: from the context of torch-mlir (level 4) to that of CIRCT (level 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pycde.circt import ir

from gradcam.passes.hw.top import build_design
from gradcam.passes.infra.contexts import make_context
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.program.nest import read_nests
from gradcam.passes.program.scheduled_program import ScheduledProgram

#: Yosys and Icarus read neither variables declared in an always block nor assignment patterns of packed arrays.
PRINTING = "disallowLocalVariables,disallowPackedArrays"


@dataclass(frozen=True)
class ConvertAffineToHw(Pass):
    """Builds the hardware of a scheduled program: engines, memories and a sequencer, as hw, comb, seq and sv ops.

    Loops become loop counters, an access becomes an address generator with one increment per loop, and the condition
    of a padding becomes sign tests. The ops of an `affine.parallel` become lanes with registers between pipeline
    stages, and each nest becomes a configuration of its engine: an entry in the engine's tables of constants.

    This pass turns:

        affine.for %oct = 0 to 2 { ... affine.load %x ... arith.muli ... } {gradcam.engine = "mac", ...}

    into:

        hw.module @engine_mac(in %clk : !seq.clock, in %rst : i1, in %go : i1, in %row : i5, ..., out done : i1, ...)
        hw.module @bank0(...)
        hw.module @sequencer(...)
        hw.module @gradcam_top(...)

    With `dsp-packing`, one multiplication that fits a DSP slice computes two products of narrow factors, where
    neighbouring lanes share a factor. Pipeline stages stay the same.
    """

    name: ClassVar[str] = "convert-affine-to-hw"
    source: ClassVar[str] = "mlir"
    target: ClassVar[str] = "circt"
    preserves = (read_nests, ScheduledProgram)
    dsp_packing: bool = False

    def run(self, module: Any) -> ir.Module:
        """Returns a new module in a new CIRCT context."""
        context = make_context("circt")
        with module.context, context, ir.Location.unknown():
            design = ir.Module.create()
            design.operation.attributes["circt.loweringOptions"] = ir.StringAttr.get(PRINTING)
            with ir.InsertionPoint(design.body):
                build_design(module, self.dsp_packing)
        return design
