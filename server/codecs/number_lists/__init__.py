"""Long lists of numbers in JSON text, read faster than a parser would, and to the same values."""
