"""What the first bytes of an image file say: its format and its size, read without decoding a single pixel.

A few kilobytes of image can hold gigabytes of pixels, so whoever decodes asks here first. Standard library only: this
file also travels into Triton's Python stubs.

Sources: ITU-T T.81 (JPEG), the PNG specification, RFC 9649 (WebP), Microsoft's BITMAPINFOHEADER, TIFF 6.0, netpbm(5).
"""

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

MAX_PIXELS: Final = 100_000_000
"""The largest picture that is decoded: 300 MB as RGB."""
FORMATS: Final = "JPEG, PNG, WebP, BMP, TIFF or binary PNM"

_MOST_SEGMENTS: Final = 4096  # a JPEG has some dozens before its frame header
_PNM: Final = re.compile(rb"P[56](?:\s|#[^\n\r]*[\n\r])+(\d{1,9})(?:\s|#[^\n\r]*[\n\r])+(\d{1,9})\s")
_PNM_HEADER: Final = 4096


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """`width` and `height` in pixels, as stored: before a rotation that EXIF may ask for."""

    format: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """How many there will be."""
        return self.width * self.height


def image_format(body: bytes | memoryview) -> str:
    """The format that the magic bytes name (`jpeg`, `png`, ...); "" for anything that is not taken as an image."""
    start = bytes(body[:16])
    if start[:4] == b"RIFF":
        return "webp" if start[8:12] == b"WEBP" else ""
    return next((name for magic, name in _MAGICS if start.startswith(magic)), "")


def read_header(body: bytes | memoryview) -> ImageHeader:
    """Read format and size.

    Raises:
        ValueError: not an image of a format that is taken, or its header is cut off or makes no sense.
    """
    name = image_format(body)
    if not name:
        raise ValueError(f"not an image file: {FORMATS} is expected" if len(body) else "an empty image file")
    try:
        width, height = _READERS[name](memoryview(body))
    except (struct.error, IndexError) as error:
        raise ValueError(f"the header of the {name} image is cut off") from error
    if width <= 0 or height <= 0:
        raise ValueError(f"the header of the {name} image says {width}x{height} pixels")
    return ImageHeader(name, width, height)


def refusal(body: bytes | memoryview, max_pixels: int = MAX_PIXELS) -> str:
    """Say why `body` is not decoded; "" where it may be."""
    try:
        header = read_header(body)
    except ValueError as error:
        return str(error)
    if header.pixels > max_pixels:
        return f"the image has {header.width}x{header.height} pixels; the limit is {max_pixels} pixels"
    return ""


def weigh(body: bytes | memoryview, max_pixels: int = MAX_PIXELS) -> tuple[int, str]:
    """How many pixels a decoder would make of `body`, and why it must not ("": it may).

    Bytes of an unknown format are the decoder's own business: 0 pixels, unless there are no bytes.
    """
    if len(body) and not image_format(body):
        return 0, ""
    why = refusal(body, max_pixels)
    return (0, why) if why else (read_header(body).pixels, "")


def _jpeg(body: memoryview) -> tuple[int, int]:
    position = 2
    for _ in range(_MOST_SEGMENTS):
        if body[position] != 0xFF:
            raise ValueError("the jpeg image is damaged: a marker is missing")
        marker = body[position + 1]
        if marker == 0xFF:  # fill bytes
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # alone, without a length
            position += 2
            continue
        if marker in (0xD9, 0xDA):
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", body, position + 5)
            return width, height
        position += 2 + struct.unpack_from(">H", body, position + 2)[0]
    raise ValueError("the jpeg image has no frame header")


def _png(body: memoryview) -> tuple[int, int]:
    size, kind, width, height = struct.unpack_from(">I4sII", body, 8)
    if (size, kind) != (13, b"IHDR"):
        raise ValueError("the png image does not begin with its header")
    return width, height


def _webp(body: memoryview) -> tuple[int, int]:
    kind = bytes(body[12:16])
    if kind == b"VP8X":
        return 1 + int.from_bytes(_exactly(body, 24, 3), "little"), 1 + int.from_bytes(_exactly(body, 27, 3), "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", body, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("the webp image does not begin with a frame")


def _bmp(body: memoryview) -> tuple[int, int]:
    (size,) = struct.unpack_from("<I", body, 14)
    if size == 12:
        width, height = struct.unpack_from("<HH", body, 18)
    else:
        width, height = struct.unpack_from("<ii", body, 18)
    return width, abs(height)  # negative: stored from top to bottom


def _tiff(body: memoryview) -> tuple[int, int]:
    order = "<" if body[0] == ord("I") else ">"
    (directory,) = struct.unpack_from(f"{order}I", body, 4)
    (count,) = struct.unpack_from(f"{order}H", body, directory)
    sides = {256: 0, 257: 0}  # ImageWidth, ImageLength
    for index in range(count):
        place = directory + 2 + 12 * index
        tag, kind = struct.unpack_from(f"{order}HH", body, place)
        if tag in sides:
            (side,) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", body, place + 8)
            sides[tag] = max(sides[tag], side)
    return sides[256], sides[257]


def _pnm(body: memoryview) -> tuple[int, int]:
    match = _PNM.match(body[:_PNM_HEADER])
    if match is None:
        raise ValueError("the header of the pnm image makes no sense")
    return int(match[1]), int(match[2])


def _exactly(body: memoryview, start: int, size: int) -> memoryview:
    piece = body[start : start + size]
    if len(piece) != size:
        raise IndexError
    return piece


_MAGICS: Final = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"P5", "pnm"),
    (b"P6", "pnm"),
)
_READERS: Final[Mapping[str, Callable[[memoryview], tuple[int, int]]]] = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "bmp": _bmp,
    "tiff": _tiff,
    "pnm": _pnm,
}
