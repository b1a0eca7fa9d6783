"""A short name for what a folder holds: equal content, equal key."""

import hashlib
from pathlib import Path

_HEX_DIGITS = 16


def content_key(folder: Path) -> str:
    """16 hex digits that change with the name or the content of any file in `folder` (not below it)."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        with file.open("rb") as content:
            digest.update(file.name.encode() + b"\0" + hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:_HEX_DIGITS]
