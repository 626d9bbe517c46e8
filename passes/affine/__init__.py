"""From level 3 to affine loops."""
