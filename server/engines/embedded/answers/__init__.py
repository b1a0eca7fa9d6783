"""Answers of steps that were asked the same before: what makes requests equal, what is kept, who waits for whom."""
