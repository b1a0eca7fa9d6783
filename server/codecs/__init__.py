"""Payload bytes to tensors, and tensors to answers. Pure functions; `registry.decode` is the one way in."""
