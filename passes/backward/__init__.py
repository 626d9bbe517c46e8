"""Level 1: the analytic backward pass and its simplification, on f32 tensors."""
