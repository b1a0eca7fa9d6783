"""The KServe v2 protocol and its extensions: binary tensors, BYTES, classification, generate, metadata."""
