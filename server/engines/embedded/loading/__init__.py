"""A step's way into memory: the load, its warm-up, what it leaves for later, and the packing of its weights."""
