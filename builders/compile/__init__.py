"""From graphs to what only one kind of GPU runs: TensorRT plans."""
