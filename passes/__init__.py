"""Passes, a room per level; importing the package makes their names known."""

from gradcam.passes import registry as registry
