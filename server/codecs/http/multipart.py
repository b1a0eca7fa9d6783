"""`multipart/form-data` (RFC 7578): what an HTML form sends, read from memory into texts and files.

The grammar is python-multipart's business. Here are the limits, and what a name is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from server.codecs.http.media_type import MediaType
from server.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

ESSENCE: Final = "multipart/form-data"
_MOST_PARTS: Final = 64
_LONGEST_TEXT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Form:
    """The parts by name: those with a file name are `files`, the others `texts`."""

    texts: Mapping[str, str]
    files: Mapping[str, bytes]


def read_form(body: bytes | memoryview, content: MediaType) -> Form:
    """Read a whole body.

    Raises:
        InvalidRequest: no boundary, a body that is cut off or malformed, a part without a name or with another's, too
            many parts, or a text that is not UTF-8 or longer than 1 MiB.
    """
    boundary = content.parameters.get("boundary", "")
    if not boundary or not boundary.isascii():
        raise InvalidRequest(f"{ESSENCE} needs a boundary in its Content-Type")
    parts = _Parts()
    try:
        parser = MultipartParser(boundary.encode(), parts.callbacks())
        parser.write(bytes(body))
        parser.finalize()
    except FormParserError as error:
        raise InvalidRequest(f"the body is not {ESSENCE}: {error}") from error
    if not parts.is_complete:
        raise InvalidRequest(f"the {ESSENCE} body is cut off: its last boundary is missing")
    return parts.form()


@dataclass(slots=True)
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)


class _Parts:
    """Collects what the parser tells."""

    def __init__(self) -> None:
        self.is_complete = False
        self._parts: list[_Part] = []
        self._name: list[bytes] = []
        self._value: list[bytes] = []

    def callbacks(self) -> "MultipartCallbacks":
        """What the parser is to call."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._name.append(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.append(data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": lambda data, start, end: self._parts[-1].pieces.append(data[start:end]),
            "on_end": self._complete,
        }

    def form(self) -> Form:
        """Sort the parts. Raises InvalidRequest."""
        texts: dict[str, str] = {}
        files: dict[str, bytes] = {}
        for part in self._parts:
            name, is_file = _name(part)
            if name in texts or name in files:
                raise InvalidRequest(f"the form has two parts of the name {name!r}")
            content = b"".join(part.pieces)
            if is_file:
                files[name] = content
            else:
                texts[name] = _text(name, content)
        return Form(texts, files)

    def _begin(self) -> None:
        if len(self._parts) == _MOST_PARTS:
            raise InvalidRequest(f"the form has more than {_MOST_PARTS} parts")
        self._parts.append(_Part())

    def _end_header(self) -> None:
        self._parts[-1].headers[b"".join(self._name).lower()] = b"".join(self._value)
        self._name.clear()
        self._value.clear()

    def _complete(self) -> None:
        self.is_complete = True


def _name(part: _Part) -> tuple[str, bool]:
    """The part's name, and whether it is a file."""
    kind, options = parse_options_header(part.headers.get(b"content-disposition"))
    name = options.get(b"name")
    if kind != b"form-data" or not name:
        raise InvalidRequest("a part of the form has no name: Content-Disposition: form-data; name=... is missing")
    return name.decode("utf-8", "replace"), b"filename" in options


def _text(name: str, content: bytes) -> str:
    if len(content) > _LONGEST_TEXT:
        raise InvalidRequest(f"the form's text {name!r} is longer than {_LONGEST_TEXT} bytes; send it as a file")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the form's text {name!r} is not UTF-8; send pictures with a file name") from error
