"""What archives are made of, as an access log tells it."""

from typing import NamedTuple


class Part(NamedTuple):
    """Content that is in memory once, however many archives have it: a step, or a weight file, by its digest.

    `bytes` on all devices together; `load_s` seconds to load it alone, 0 for a file: they are its steps'.
    """

    digest: str
    bytes: int
    load_s: float
