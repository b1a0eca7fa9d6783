"""Byte sizes as people write them."""

import re
from typing import Final

_UNITS: Final = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BINARY: Final = {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def parse(text: str, whole: int) -> int:
    """Bytes of `24GB`, `24GiB`, `1e9` or `10%` (of `whole`).

    Raises:
        ValueError: it is none of these, or less than a byte.
    """
    found = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*(%|[A-Za-z]*)\s*", text)
    unit = found[2].upper() if found else "?"
    factor = whole / 100 if unit == "%" else {**_UNITS, **_BINARY}.get(unit)
    if found is None or factor is None:
        raise ValueError(f"{text!r} is not a budget: write 24GB, 24GiB or 10%")
    size = int(float(found[1]) * factor)
    if size < 1:
        raise ValueError(f"{text!r} is less than a byte")
    return size


def written(size: float) -> str:
    """Bytes for people: `8.59 GB`, `12.6 MB`."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}" if size < 1000 * factor else f"{size / factor:,.0f} {unit}"
    return f"{size:.0f} B"
