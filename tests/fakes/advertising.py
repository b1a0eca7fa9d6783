"""A creative-advertising archive over the tiny Segment Anything and Stable Diffusion archives, built once per test run."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from builders.families import creative_advertising
from tests.fakes import diffusion
from tests.fakes.sam_archive import sam_archive

NAME = "creative-advertising"


@cache
def advertising_archive() -> Path:
    """A folder with the archive `creative-advertising`."""
    folder = Path(tempfile.mkdtemp(prefix="advertising-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    options = creative_advertising.Options(sam_archive(), diffusion.built(), NAME)
    return creative_advertising.build(options, folder / NAME)
