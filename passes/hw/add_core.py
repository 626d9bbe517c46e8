"""gradcam-add-core: builds `gradcam_core` around `gradcam_top`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pycde.circt import ir

from gradcam.errors import fail
from gradcam.names import TOP
from gradcam.passes.hw.core import build_core
from gradcam.passes.hw.interface import Interface
from gradcam.passes.infra.pass_base import Pass


@dataclass(frozen=True)
class AddCore(Pass):
    """Puts the design behind standard interfaces: AXI4-Lite registers, AXI4-Stream packets, an AXI4 read manager.

    This pass turns:

        hw.module @gradcam_top(in %clk : !seq.clock, in %rst : i1, in %start : i1, in %image_valid : i1, ...)

    into the same module and:

        hw.module @registers(...)
        hw.module @image_buffer(...)
        hw.module @result_buffer(...)
        hw.module @gradcam_core(in %aclk : !seq.clock, in %aresetn : i1, in %s_axi_control_awvalid : i1, ...)
    """

    name: ClassVar[str] = "gradcam-add-core"
    source: ClassVar[str] = "circt"
    target: ClassVar[str] = "circt"

    def run(self, module: Any) -> None:
        """Adds the modules of the core.

        Raises:
            GradcamError: there is no top, or a sum in the hardware takes longer than a cycle of its clock.
        """
        with module.context, ir.Location.unknown():
            tops = [op for op in module.body.operations if ir.StringAttr(op.attributes["sym_name"]).value == TOP]
            if len(tops) != 1:
                raise fail(module.operation, f"there is no module '{TOP}'; run convert-affine-to-hw first")
            with ir.InsertionPoint(module.body):
                build_core(tops[0])
            _refuse_long_sums(module, tops[0])


def _refuse_long_sums(module: Any, top: Any) -> None:
    """Refuses a clock at which a sum that has no pieces, such as that of an address, takes longer than a cycle.

    Sums beside a product are part of a DSP slice.
    """
    interface = Interface.read(top)
    for op in (op.operation for op in module.body.operations if op.operation.name == "hw.module"):
        ops = [view.operation for view in op.regions[0].blocks[0].operations]
        if any(inner.name == "comb.mul" for inner in ops):
            continue
        sums = (inner.results[0].type for inner in ops if inner.name in ("comb.add", "comb.sub"))
        bits = max((ir.IntegerType(kind).width for kind in sums), default=1)
        if interface.clock.pieces(bits) > 1:
            name, most = ir.StringAttr(op.attributes["sym_name"]).value, int(interface.clock.fastest(bits))
            reason = f"a sum of {bits} bits in {name} takes longer than a cycle; choose at most {most} MHz"
            raise fail(top, f"{interface.mhz:g} MHz is too fast for {interface.family}: {reason}")
