"""Golden files: generated text beside the tests. `make golden` rewrites them; the diff is the review."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "files"


def check(name: str, text: str) -> None:
    """Assert that `text` is what the golden file `name` says."""
    path = FOLDER / name
    if os.environ.get("ROUNDHOUSE_REWRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.is_file(), f"{name} is missing: make golden"
    assert path.read_text() == text, f"{name} differs: read the diff, then make golden"
