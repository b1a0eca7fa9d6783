"""Pictures to compare archives with their references on: drawn from a seed, in the kinds of files that users send."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageOps

_COARSE = 7
_ORIENTATION = 0x0112
_QUARTER_TURN = 6


def probe_pictures() -> Mapping[str, bytes]:
    """Encoded pictures by a name that tells what they are; the same bytes each time with one Pillow."""
    turned = Image.Exif()
    turned[_ORIENTATION] = _QUARTER_TURN
    return {
        "photo.jpg": _file(_draw(0, 640, 480), "JPEG", quality=90),
        "portrait.png": _file(_draw(1, 300, 451), "PNG"),
        "panorama.jpg": _file(_draw(2, 900, 250), "JPEG", quality=75, progressive=True),
        "small.webp": _file(_draw(3, 90, 70), "WEBP", lossless=True),
        "grey.jpg": _file(_draw(4, 333, 333).convert("L"), "JPEG", quality=90),
        "alpha.png": _file(_with_alpha(_draw(5, 257, 199)), "PNG"),
        "turned.jpg": _file(_draw(6, 400, 300), "JPEG", quality=90, exif=turned),
        "print.jpg": _file(_draw(7, 320, 240).convert("CMYK"), "JPEG", quality=95),
    }


def decoded(picture: bytes) -> Image.Image:
    """What every archive must see: upright, RGB."""
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(picture)))
    return upright.convert("RGB")


def _draw(seed: int, width: int, height: int) -> Image.Image:
    """Soft coloured clouds with hard edges and some grain, so that resizing has something to do."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (_COARSE, _COARSE, 3), np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    top, left = random.integers(0, (height // 2, width // 2))
    pixels[top : top + height // 3, left : left + width // 3] = random.integers(0, 256, 3)
    grain = random.integers(-12, 13, pixels.shape)
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def _with_alpha(picture: Image.Image) -> Image.Image:
    ramp = Image.linear_gradient("L").resize(picture.size)
    return Image.merge("RGBA", (*picture.split(), ramp))


def _file(picture: Image.Image, form: str, **how: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **how)
    return file.getvalue()
