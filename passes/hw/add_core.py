"""gradcam-add-core: builds `gradcam_core` around `gradcam_top`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pycde.circt import ir

from gradcam.errors import fail
from gradcam.passes.hw.core import build_core
from gradcam.passes.hw.top import TOP
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
        """Adds the modules of the core."""
        with module.context, ir.Location.unknown():
            tops = [op for op in module.body.operations if ir.StringAttr(op.attributes["sym_name"]).value == TOP]
            if len(tops) != 1:
                raise fail(module.operation, f"there is no module '{TOP}'; run convert-affine-to-hw first")
            with ir.InsertionPoint(module.body):
                build_core(tops[0])
