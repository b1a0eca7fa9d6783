"""What `make archives` built, for tests that need such an archive and not its building."""

import shutil
import tarfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "model_repository" / "archives"


def unpacked(name: str, to: Path) -> Path:
    """Unpack the demo archive `name` to the folder `to`, for tests that may copy and change it; returns it."""
    with tarfile.open(_packed(name)) as tar:
        tar.extractall(to, filter="data")
    return to


def copied(name: str, to: Path) -> Path:
    """Copy the demo archive `name` to the file `to`; returns it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(_packed(name), to))


def _packed(name: str) -> Path:
    packed = FOLDER / f"{name}.tar.gz"
    assert packed.is_file(), f"{packed.name} is missing: make archives"
    return packed
