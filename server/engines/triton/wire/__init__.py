"""What is said to tritonserver and what its answers mean: HTTP for inference, gRPC for loads and streams."""
