"""Executes Triton repositories inside this process: onnxruntime, python, ensemble."""
