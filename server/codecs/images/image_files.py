"""Pictures on their way in and out: encoded image files, arrays as image files, arrays as PNG.

Archives that take pictures have one public input of an encoded image's bytes (UINT8 [-1]). An array that a client has
already enters by the same door: as a PNM file, which is a line of text in front of its bytes, so nothing is lost.
"""

import base64
import io
from typing import Final

import numpy as np
from PIL import Image

from server.codecs import npy
from server.domain import image_header
from server.domain.errors import InvalidRequest
from server.domain.image_header import MAX_PIXELS
from server.domain.inference import Array

MEDIA_TYPES: Final = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/bmp",
    "image/tiff",
    "image/x-portable-anymap",
    "image/jpg",
    "image/*",
)
"""Content-Types of the files that are taken, also as they are often miswritten. What a file is, its first bytes say."""
_DATA_URL: Final = "data:"
_PNG_EFFORT: Final = 3  # zlib's level: half of the default's time for a few per cent more bytes


def is_image(body: bytes | memoryview) -> bool:
    """Whether the body begins as an image file that is taken."""
    return bool(image_header.image_format(body))


def encoded_image(body: bytes | memoryview, max_pixels: int = MAX_PIXELS) -> bytes | memoryview:
    """Give `body` back if it is one image file with at most `max_pixels`; only its header is looked at.

    Raises:
        InvalidRequest: empty, another format, a damaged header, too many pixels.
    """
    why = image_header.refusal(body, max_pixels)
    if why:
        raise InvalidRequest(f"the body cannot be read as an image: {why}")
    return body


def from_base64(text: str, what: str) -> bytes:
    """Decode base64 text, a data URL as well (`data:image/png;base64,...`); blanks and line breaks do not count.

    Raises:
        InvalidRequest: something else; `what` is what the caller calls it.
    """
    if text.startswith(_DATA_URL):
        text = text[text.find(",") + 1 :]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise InvalidRequest(f"{what} is not base64 of an image file: {error}") from error


def pnm(array: Array) -> bytes:
    """Wrap an image as a lossless PNM file: uint8 [H, W, 3] as P6; [H, W] or [H, W, 1] as P5.

    Raises:
        InvalidRequest: another datatype or shape, an empty image, or too many pixels.
    """
    colours = _channels(array)
    if array.dtype != np.uint8 or colours not in (1, 3):
        raise InvalidRequest(f"an image is uint8 [H, W, 3], [H, W, 1] or [H, W], got {array.dtype} {list(array.shape)}")
    height, width = array.shape[:2]
    if height * width == 0 or height * width > MAX_PIXELS:
        raise InvalidRequest(f"the image has {width}x{height} pixels; between 1 and {MAX_PIXELS} are taken")
    kind = 6 if colours == 3 else 5
    return b"".join((b"P%d\n%d %d\n255\n" % (kind, width, height), np.ascontiguousarray(array).data.cast("B")))


def read_npy_image(body: bytes | memoryview) -> Array:
    """Read an .npy file that holds one picture: uint8 [H, W] or [H, W, 1, 3 or 4], also as a batch of one.

    An alpha channel is dropped, as Pillow's `convert("RGB")` does. Gives uint8 [H, W, 3] or [H, W].

    Raises:
        InvalidRequest: not an .npy file, or not a picture.
    """
    return as_picture(npy.read(body), "a picture in an .npy file")


def as_picture(array: Array, what: str) -> Array:
    """See a picture in uint8 [H, W] or [H, W, 1, 3 or 4], also as a batch of one. Gives uint8 [H, W, 3] or [H, W].

    Raises:
        InvalidRequest: another datatype or shape; `what` says what it should have been.
    """
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    colours = _channels(array)
    if array.dtype != np.uint8 or colours not in (1, 3, 4):
        raise InvalidRequest(
            f"{what} must be uint8 [height, width, 3] (or 1 or 4 channels, or none), "
            f"got {array.dtype} {list(array.shape)}"
        )
    if colours == 1:
        return array.reshape(array.shape[:2])
    return array[:, :, :3]


def png(array: Array) -> bytes:
    """Write a PNG: uint8 [H, W, 3] (RGB), [H, W, 4] (RGBA), [H, W] (grey), or bool [H, W] (a mask: black and white).

    Raises:
        InvalidRequest: another datatype or shape, or no pixels: PNG cannot hold it.
    """
    is_mask = array.dtype == np.bool_ and array.ndim == 2
    pixels = array.astype(np.uint8) * np.uint8(255) if is_mask else array
    if pixels.dtype != np.uint8 or pixels.size == 0 or (pixels.ndim, _channels(pixels)) not in ((2, 1), (3, 3), (3, 4)):
        raise InvalidRequest(f"{array.dtype} {list(array.shape)} cannot be written as a PNG")
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=_PNG_EFFORT)
    return file.getvalue()


def _channels(array: Array) -> int:
    """1 for [H, W], C for [H, W, C], 0 for what is no picture."""
    if array.ndim == 2:
        return 1
    return int(array.shape[2]) if array.ndim == 3 else 0
