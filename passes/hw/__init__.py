"""Hardware builders for a scheduled program; `convert-affine-to-hw` and `gradcam-add-core` apply them."""
