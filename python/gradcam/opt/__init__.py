"""The implementation of `gradcam-opt`: `main` in `driver`, the command line in `cli`."""
