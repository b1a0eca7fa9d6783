"""A Segment Anything archive with tiny random weights, of the demo set. Needs the builders extra.

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
from tests.fakes import demo_archives

OPTIONS = segment_anything.Options(size="tiny", is_measured=False)
"""What the demo's archive is built with."""


@cache
def sam_archive() -> Path:
    """A folder, of name `sam`, with the archive."""
    folder = Path(tempfile.mkdtemp(prefix="sam-archive-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return demo_archives.unpacked("segment-anything-tiny", folder / "sam")


def picture(height=96, width=128, seed=3):
    """UINT8 [height, width, 3]."""
    return drawn_picture(height, width, seed)


def encoded(array, form="PNG", mode=None, **options):
    """An image file of an array."""
    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(array))
    (image.convert(mode) if mode else image).save(file, form, **options)
    return file.getvalue()
