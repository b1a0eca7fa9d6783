"""The real Triton as an engine: a supervised tritonserver in explicit model-control mode."""
