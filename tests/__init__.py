"""A package by name, because a library in the environment brings a `tests` package of its own."""
