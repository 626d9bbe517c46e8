"""gradcam-group-pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch_mlir import ir

from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.ir.attributes import PIXELS
from gradcam.passes.ir.platform import Platform
from gradcam.passes.linalg.pixel_choice import choose
from gradcam.passes.linalg.pixel_rewrite import Rewriter


@dataclass(frozen=True)
class GroupPixels(Pass):
    """Puts adjacent pixels of maps with few channels side by side into the channels, to fill the lanes.

    A map of 16 channels leaves half of 32 lanes idle in every step. With 2 pixels side by side, it is a map of half the
    width with 32 channels. A convolution between such maps is an ordinary one with other weights: each output pixel of
    a group has weights for the pixels of the groups that it reads, 0 for those that it does not. So are its adjoint,
    and the convolutions from and to single pixels that move by whole groups; elementwise ops stay as they are. The sums
    are the same integers. What reads or makes single pixels alone, such as a pool, reads a copy, or gets one made of
    its result. Maps that elementwise ops and convolutions of stride 1 join have the same groups. They are chosen for
    the fewest steps, of the convolutions, of their adjoints and of the copies; where no step is saved, nothing changes.
    The module's attribute `gradcam.pixels` keeps the choice, by the names of the maps.

    This pass turns:

        %y = "gradcam.conv2d"(%x, %w) {padding = [1, 1], stride = [1, 1]}
          : (tensor<1x16x8x8x!q>, tensor<16x16x3x3x!w>) -> tensor<1x16x8x8x!r>

    into (pe=32x32), where %x and %y have groups of 1x2 pixels:

        %y = "gradcam.conv2d"(%x, %w2) {padding = [1, 1], stride = [1, 1]}
          : (tensor<1x32x8x4x!q>, tensor<32x32x3x3x!w>) -> tensor<1x32x8x4x!r>
    """

    name: ClassVar[str] = "gradcam-group-pixels"

    def run(self, module: ir.Module) -> None:
        """Rewrites the maps of every function for which it saves steps."""
        pe, names = Platform.of(module.operation).pe, dict[str, list[int]]()
        with module.context, ir.Location.unknown():
            for function in module.body.operations:
                if function.operation.name == "func.func" and function.regions[0].blocks:
                    choice = choose(function, pe)
                    if choice.is_any:
                        names |= Rewriter(choice).run()
            if names:
                PIXELS.set(module.operation, names)
