"""How a step gets into tritonserver and out again: what is checked before, what it takes, who is there."""
