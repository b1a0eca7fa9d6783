"""`text/plain`: the whole body is one text, for archives that take one text.

The parameter `charset` says how it is encoded (UTF-8 where absent); the model always gets UTF-8. An empty body is the
empty text. The answer has the form of `task_reply.py`, as for `{"inputs": "..."}`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from server.codecs.text import text_input
from server.domain.errors import InvalidRequest, UnsupportedMediaType
from server.domain.inference import InferenceRequest
from server.domain.model import StagedArchive, TensorSpec

_ENCODING_BY_CHARSET: Final[Mapping[str, str]] = MappingProxyType(
    {
        "utf-8": "utf-8",
        "utf8": "utf-8",
        "us-ascii": "ascii",
        "ascii": "ascii",
        "iso-8859-1": "latin-1",
        "latin1": "latin-1",
        "windows-1252": "cp1252",
        "utf-16": "utf-16",
        "utf-16le": "utf-16-le",
        "utf-16be": "utf-16-be",
    }
)


def decode(body: bytes, charset: str, spec: TensorSpec, archive: StagedArchive) -> InferenceRequest:
    """Make the request for one text.

    Raises:
        UnsupportedMediaType: a charset that is not read.
        InvalidRequest: the body is not text in its charset.
    """
    encoding = _ENCODING_BY_CHARSET.get(charset.lower())
    if encoding is None:
        raise UnsupportedMediaType(f"charset {charset!r} is not read; choose one of {', '.join(_ENCODING_BY_CHARSET)}")
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the text is not {charset}: {error.reason} at byte {error.start}") from error
    try:
        utf8 = body if encoding == "utf-8" else text.encode()
    except UnicodeEncodeError as error:  # lone surrogates that UTF-16 lets through
        raise InvalidRequest(f"the text is not {charset}: {error.reason} at character {error.start}") from error
    return InferenceRequest({spec.name: text_input.tensor([utf8], spec, archive)})
