"""The side of the process that keeps residency: it starts workers, lends to them, calls back, and ends them."""
