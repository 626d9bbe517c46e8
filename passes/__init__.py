"""The project's passes, one file each; `registry` maps their names to them."""
