"""Matrix products in C, for processors with bfloat16 tiles: what ONNX Runtime has no kernels for."""
