"""Synthesis of a compiled design with Yosys, and place and route with nextpnr: `synthesize`."""

from gradcam.synth.families import FAMILIES
from gradcam.synth.synthesis import synthesize

__all__ = ["FAMILIES", "synthesize"]
