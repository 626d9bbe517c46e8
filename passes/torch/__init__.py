"""Level 0: from torch to gradcam."""
