"""Triton's Python model API: our `triton_python_backend_utils`, and the two hosts that run `TritonPythonModel`."""
