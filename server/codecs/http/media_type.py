"""Content-Type and Accept headers, taken apart as RFC 9110 says: names in any case, blanks and quotes where allowed.

What the types mean is not here; see `codecs/registry.py` and `negotiation.py`.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

JSON: Final = "application/json"
NPY: Final = "application/x-npy"
OCTET_STREAM: Final = "application/octet-stream"
SAGEMAKER_BINARY: Final = "application/vnd.sagemaker-triton.binary+json"
TEXT: Final = "text/plain"

_PARAMETER: Final = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)')
_REMEMBERED: Final = 1024  # distinct header values: each size of a binary request's JSON part is one


class MediaType(NamedTuple):
    """`essence` is `type/subtype` in lower case; parameter names are in lower case, values as sent."""

    essence: str
    parameters: Mapping[str, str]


@lru_cache(maxsize=_REMEMBERED)
def parse(header: str) -> MediaType:
    """Take a Content-Type apart. Never fails: what is malformed becomes an essence that no table holds."""
    essence, semicolon, _ = header.partition(";")
    if not semicolon:
        return MediaType(essence.strip().lower(), MappingProxyType({}))
    pairs = _PARAMETER.findall(header, len(essence))
    parameters = {name.lower(): _unquote(value.strip()) for name, value in pairs}
    return MediaType(essence.strip().lower(), MappingProxyType(parameters))


@lru_cache(maxsize=_REMEMBERED)
def accepted(header: str) -> tuple[str, ...]:
    """The essences an Accept header asks for, most wanted first; those with `q=0` are left out."""
    ranked = [(_quality(media_type), media_type.essence) for media_type in map(parse, header.split(","))]
    wanted = [pair for pair in ranked if pair[0] > 0 and pair[1]]
    return tuple(essence for _, essence in sorted(wanted, key=lambda pair: -pair[0]))


def _quality(media_type: MediaType) -> float:
    try:
        quality = float(media_type.parameters.get("q", "1"))
    except ValueError:
        return 1.0
    return quality if quality >= 0 else 0.0  # also for NaN


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value
