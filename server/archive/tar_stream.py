"""Reads a tar stream member by member: ustar, GNU long names, pax headers. Believes no number that it has not checked.

The standard library's reader takes a header's word for how much to read into memory, and remembers every member. This
one reads a stream once, in small pieces, and refuses what an archive of models never holds (links, devices, sparse
files). It writes nothing: `unpack.py` does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from server.domain.errors import InvalidArchive

BLOCK: Final = 512
_MAX_EXTRA_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 1 << 20
_KINDS_REFUSED: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a named pipe",
    b"S": "a sparse file (pack without --sparse)",
    b"M": "a part of a multi-volume archive",
}


class Readable(Protocol):
    """A stream of bytes; a short answer means its end."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """A file or folder as its header describes it: nothing about the name or size is checked against any limit."""

    name: str
    size: int
    is_folder: bool


class TarStream:
    """Iterate `members()`; read each file's `data()` before going on, or it is skipped."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._left = 0
        self._padding = 0
        self._global: dict[str, str] = {}

    def members(self) -> Iterator[Member]:
        """Files and folders in the order of the archive.

        Raises:
            InvalidArchive: not a tar, damaged, cut off, or it holds something that is neither file nor folder.
        """
        extra: dict[str, str] = {}
        while True:
            self._skip()
            header = self._exactly(BLOCK)
            if not any(header):
                return
            _verify_checksum(header)
            kind = header[156:157]
            self._begin(_number(header[124:136], "size"))
            if kind in b"xgLK" and kind:
                extra |= self._extra(kind)
                continue
            yield self._member(header, kind, self._global | extra)
            extra = {}

    def data(self) -> Iterator[bytes]:
        """The current member's content in pieces."""
        while self._left:
            piece = self._stream.read(min(self._left, _CHUNK_BYTES))
            if not piece:
                raise _cut_off()
            self._left -= len(piece)
            yield piece

    def _member(self, header: bytes, kind: bytes, extra: dict[str, str]) -> Member:
        name = extra.get("path") or _name(header)
        if kind in _KINDS_REFUSED:
            raise InvalidArchive(f"{name!r} is {_KINDS_REFUSED[kind]}; archives may hold only files and folders")
        if "sparse" in extra:
            raise InvalidArchive(f"{name!r} is a sparse file; pack without --sparse")
        if kind not in {b"0", b"\0", b"7", b"5"}:
            raise InvalidArchive(f"{name!r} has the unknown tar type {kind!r}")
        if "size" in extra:
            self._begin(_decimal(extra["size"]))
        is_folder = kind == b"5" or (kind == b"\0" and name.endswith("/"))
        if is_folder and self._left:
            raise InvalidArchive(f"the folder {name!r} claims to have content")
        return Member(name, self._left, is_folder)

    def _extra(self, kind: bytes) -> dict[str, str]:
        """A header that describes the next member (or, for `g`, all that follow)."""
        if self._left > _MAX_EXTRA_BYTES:
            raise InvalidArchive(f"the tar has a header of {self._left} bytes; at most {_MAX_EXTRA_BYTES} are read")
        payload = b"".join(self.data())
        if kind == b"L":
            return {"path": _text(payload.split(b"\0", 1)[0])}
        if kind == b"K":
            return {}  # the target of a link, and links are refused
        records = dict(_pax_records(payload))
        if kind == b"g":
            self._global |= records
            return {}
        return records

    def _begin(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    def _skip(self) -> None:
        for _ in self.data():
            pass
        if self._padding:
            self._exactly(self._padding)
            self._padding = 0

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self._stream.read(size - len(data))
            if not piece:
                raise _cut_off()
            data += piece
        return bytes(data)


def _cut_off() -> InvalidArchive:
    return InvalidArchive("the archive is cut off: its end is missing; transfer or pack it again")


def _verify_checksum(header: bytes) -> None:
    blanked = header[:148] + b" " * 8 + header[156:]
    wanted = _number(header[148:156], "checksum")
    signed = sum(byte - 256 if byte > 127 else byte for byte in blanked)  # some old packers summed signed bytes
    if wanted not in {sum(blanked), signed}:
        raise InvalidArchive("the archive is not a tar, or is damaged: a header's checksum is wrong")


def _number(field: bytes, what: str) -> int:
    """An octal number, or a binary one where its first bit is set (GNU's way for large files)."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.replace(b"\0", b" ").strip()
    if field[0] & 0x80 or any(byte not in b"01234567" for byte in text):
        raise InvalidArchive(f"the archive is not a tar, or is damaged: a header's {what} is not a number")
    return int(text, 8) if text else 0


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidArchive(f"the name {raw[:64]!r} in the archive is not UTF-8") from error


def _pax_records(payload: bytes) -> Iterator[tuple[str, str]]:
    """Records of the form `LENGTH KEY=VALUE` and a line feed, where LENGTH counts the whole record."""
    position = 0
    while position < len(payload) and payload[position]:
        blank = payload.find(b" ", position, position + 12)
        length = _decimal(payload[position:blank].decode("latin-1")) if blank > 0 else 0
        record = payload[blank + 1 : position + length]
        key, equals, value = record.partition(b"=")
        if position + length > len(payload) or not equals or not value.endswith(b"\n"):
            raise InvalidArchive("the archive is damaged: a pax header does not parse")
        if key.startswith(b"GNU.sparse"):
            yield "sparse", ""
        elif key in {b"path", b"size"}:  # the rest (times, owners, ...) is not used
            yield _text(key), _text(value[:-1])
        position += length


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        raise InvalidArchive(f"the archive is damaged: {text[:20]!r} in a pax header is not a number")
    return int(text)
