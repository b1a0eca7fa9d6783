"""From a framework's module to an ONNX graph, and from that to a better one."""
