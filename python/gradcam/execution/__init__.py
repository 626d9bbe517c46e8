"""Executes modules: the walk over the ops, and what they compute in f32, which calibration measures."""
