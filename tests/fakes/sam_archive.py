"""A Segment Anything archive with tiny random weights, built once per test run. Needs the builders extra.

A test that writes into it must copy it.
"""

import atexit
import io
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from builders.families import segment_anything
from builders.pipeline.parity_sam import drawn_picture

OPTIONS = segment_anything.Options(size="tiny", seed=7, name="sam", is_measured=False)


@cache
def sam_archive() -> Path:
    """A folder with the archive `sam`."""
    folder = Path(tempfile.mkdtemp(prefix="sam-archive-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return segment_anything.build(OPTIONS, folder / "sam")


def picture(height=96, width=128, seed=3):
    """UINT8 [height, width, 3]."""
    return drawn_picture(height, width, seed)


def encoded(array, form="PNG", mode=None, **options):
    """An image file of an array."""
    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(array))
    (image.convert(mode) if mode else image).save(file, form, **options)
    return file.getvalue()
