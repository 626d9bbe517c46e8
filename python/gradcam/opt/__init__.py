"""What `gradcam-opt` does: `main` in `driver`, the command line in `cli`."""
