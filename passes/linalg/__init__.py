"""Level 3: lowering to linalg on packed integer tensors."""
