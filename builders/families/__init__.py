"""One file per model family: which steps it has, and how its parity is proven."""
