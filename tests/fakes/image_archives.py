"""Image archives built once per test session, and pictures to send them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from builders.families import image_classification
from builders.families.image_classification import Options
from tests.fakes import demo_archives

TINY = Options(name="tiny", weights="random", size="tiny", max_batch_size=4, is_measured=False)
TENSORFLOW = Options(
    name="tensorflow", weights="random", size="tiny", classes=1001, max_batch_size=4, is_measured=False
)
REAL = "lite0"
"""Real ImageNet weights, from a package: the demo's photo classifier."""


def store(factory: Any) -> Path:
    """A folder with the archives `tiny.tar.gz`, `tensorflow.tar.gz` and `lite0.tar.gz`.

    `factory` is pytest's `tmp_path_factory`: the folder lies below what all tests of a session share.
    """
    folder: Path = factory.getbasetemp() / "image-archives"
    for options in (TINY, TENSORFLOW):
        if not (folder / f"{options.name}.tar.gz").exists():
            image_classification.build(options, folder / f"{options.name}.tar.gz")
    if not (folder / f"{REAL}.tar.gz").exists():
        demo_archives.copied("photo", folder / f"{REAL}.tar.gz")
    return folder


def drawn(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    """A soft picture, so that JPEG's losses stay small."""
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def saved(picture: Image.Image, form: str = "PNG", **how: Any) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    picture.save(file, form, **how)
    return file.getvalue()


def hostile() -> dict[str, bytes]:
    """Files that decode, though not every program decodes them rightly."""
    picture = drawn(160, 120)
    grey = np.asarray(picture.convert("L")).astype(np.uint16)
    turned = Image.Exif()
    turned[0x0112] = 6
    ramp = Image.linear_gradient("L").resize(picture.size)
    return {
        "cmyk.jpg": saved(picture.convert("CMYK"), "JPEG", quality=95),
        "cmyk.tiff": saved(picture.convert("CMYK"), "TIFF"),
        "grey.jpg": saved(picture.convert("L"), "JPEG", quality=95),
        "grey.png": saved(picture.convert("L")),
        "16-bit.png": saved(Image.fromarray(grey * 257)),
        "16-bit.tiff": saved(Image.fromarray(grey * 257), "TIFF"),
        "alpha.png": saved(Image.merge("RGBA", (*picture.split(), ramp))),
        "grey-alpha.png": saved(Image.merge("LA", (picture.convert("L"), ramp))),
        "palette.png": saved(picture.quantize(32)),
        "transparent-palette.png": saved(picture.quantize(32), transparency=3),
        "bilevel.png": saved(picture.convert("1")),
        "turned.jpg": saved(picture, "JPEG", quality=95, exif=turned),
        "progressive.jpg": saved(picture, "JPEG", progressive=True),
        "lossless.webp": saved(picture, "WEBP", lossless=True),
        "plain.bmp": saved(picture, "BMP"),
        "one-pixel.png": saved(drawn(1, 1)),
        "thin.png": saved(drawn(20_000, 3)),
    }


def upright(file: bytes) -> Image.Image:
    """What an archive must see: EXIF applied, RGB; of 16 bits the upper 8 (Pillow would cut off the bright half)."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return picture.convert("RGB")


def damaged() -> dict[str, bytes]:
    """Files that nobody can decode, or that nobody should."""
    photo = saved(drawn(300, 200, 1), "JPEG")
    large = bytearray(saved(drawn(3, 2)))
    large[16:24] = (20_000).to_bytes(4, "big") * 2
    return {
        "nothing": b"",
        "truncated.jpg": photo[: len(photo) // 2],
        "truncated.png": saved(drawn(300, 200))[:400],
        "20000x20000.png": bytes(large),
        "text": b"this is not a picture, whatever its type says",
        "gif": b"GIF89a" + bytes(50),
    }
