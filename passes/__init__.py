"""Passes, a folder per level; importing the package registers their names."""

from gradcam.passes import registry as registry
