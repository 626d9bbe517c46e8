"""Level 2: calibration and quantization."""
