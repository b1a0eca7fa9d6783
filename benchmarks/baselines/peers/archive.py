"""A demo archive's content, for as long as a peer runs that serves it."""

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.payloads import archive_file


@contextmanager
def unpacked(name: str) -> Iterator[Path]:
    """Unpack it into a folder of its own. Raises RuntimeError where it was not built."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive_file(f"{name}.tar.gz")) as packed:
            packed.extractall(folder, filter="data")
        yield Path(folder)
