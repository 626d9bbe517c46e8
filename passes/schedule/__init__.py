"""Level 4: the static schedule."""
