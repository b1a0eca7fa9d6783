"""A server that is harmed in every way we can think of, while clients check each of its answers.

`python -m benchmarks.chaos --minutes 10`. Nothing here is a timing: the result is a verdict.
"""
