"""Runs a compiled design in Verilator, cycle by cycle, and compares it with the integer reference."""

from gradcam.design import Design
from gradcam.sim.build import build, lint
from gradcam.sim.simulator import DramModel, Result, Simulator
from gradcam.sim.trace import Trace, compare_trace

__all__ = ["Design", "DramModel", "Result", "Simulator", "Trace", "build", "compare_trace", "lint"]
