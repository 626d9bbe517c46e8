"""Executes modules: the interpreter, and the f32 kernels of the ops, with which calibration runs."""
