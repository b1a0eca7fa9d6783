"""Photographs to show the picture families on, from a package that ships some."""

import shutil
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Final

from builders.pipeline.extras import need

PHOTOS: Final = MappingProxyType({"cat.png": "chelsea.png", "coffee.png": "coffee.png", "rocket.jpg": "rocket.jpg"})
"""What they are called here, and in scikit-image's `data` folder (public domain, or CC0)."""


def place_photos(to: Path) -> list[Path]:
    """Copy the photographs that are missing into the folder `to`; returns all of them."""
    need("skimage", "demo")
    to.mkdir(parents=True, exist_ok=True)
    placed = []
    for name, source in PHOTOS.items():
        if not (to / name).is_file():
            with resources.as_file(resources.files("skimage.data") / source) as file:
                shutil.copyfile(file, to / name)
        placed.append(to / name)
    return placed
