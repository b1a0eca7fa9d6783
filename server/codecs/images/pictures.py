"""Pictures for models that take pixels: image files, base64 and nested lists become uint8 arrays.

Archives that decode by themselves (DALI) get the file's bytes instead; see `image_files.py`.
"""

import base64
import io
from typing import Any, Final, Literal

import numpy as np
from PIL import Image, ImageOps

from server.codecs.images import image_files
from server.domain.errors import InvalidRequest
from server.domain.inference import Array

MAX_PIXELS: Final = 1 << 24
"""Larger pictures are refused before they are decoded."""


def from_file(body: bytes | memoryview, mode: Literal["RGB", "L"], name: str) -> Array:
    """Decode an image file, upright as its EXIF data says: uint8 [H, W, 3] for RGB, [H, W] for L.

    Transparency is dropped; CMYK, palettes and 16 bits are converted.

    Raises:
        InvalidRequest: not an image, damaged, or with more than `MAX_PIXELS`. `name` is what the caller calls it.
    """
    try:
        image_files.encoded_image(body, MAX_PIXELS)
    except InvalidRequest as error:
        raise InvalidRequest(f"'{name}': {error}") from error
    try:
        with Image.open(io.BytesIO(body)) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits, which Pillow would clip
                upright = Image.fromarray((np.asarray(upright, dtype=np.uint32) >> 8).astype(np.uint8))
            return np.asarray(upright.convert(mode))
    except Exception as error:  # Pillow's decoders raise whatever their formats' code raises
        raise InvalidRequest(f"'{name}' cannot be decoded: {error}") from error


def from_json(value: Any, mode: Literal["RGB", "L"], name: str) -> Array:
    """Read base64 text of an image file (a data URL as well), or nested lists of levels 0 to 255, as `from_file`.

    Raises:
        InvalidRequest: neither, or not a picture of that mode.
    """
    if isinstance(value, str):
        return from_file(image_files.from_base64(value, f"'{name}'"), mode, name)
    if not isinstance(value, list | np.ndarray):
        raise InvalidRequest(f"'{name}' must be base64 text of an image file, or nested lists of levels")
    try:
        levels = np.asarray(value)
    except ValueError as error:
        raise InvalidRequest(f"'{name}' must be nested lists of one shape") from error
    if levels.dtype == np.bool_:
        levels = levels.astype(np.uint8) * np.uint8(255)
    wanted = "[height, width, 3]" if mode == "RGB" else "[height, width]"
    if levels.ndim == 3 and levels.shape[2] == 1 and mode == "L":
        levels = levels[:, :, 0]
    if levels.ndim != len(wanted.split(",")) or (mode == "RGB" and levels.shape[2] != 3) or not levels.size:
        raise InvalidRequest(f"'{name}' must have the shape {wanted}, got {list(levels.shape)}")
    if levels.dtype.kind not in "iu" or levels.min() < 0 or levels.max() > 255:
        raise InvalidRequest(f"'{name}' must hold whole numbers from 0 to 255")
    return levels.astype(np.uint8)


def base64_png(array: Array) -> str:
    """A picture as base64 text of a PNG."""
    return base64.b64encode(image_files.png(array)).decode("ascii")
