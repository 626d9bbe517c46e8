"""Hardware of a scheduled program, one kind of module per file; `convert-affine-to-hw` puts them together."""
