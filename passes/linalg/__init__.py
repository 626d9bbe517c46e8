"""Level 3: packed integer tensors."""
