"""Versions of what made an archive, for its provenance."""

import platform
from importlib.metadata import PackageNotFoundError, version


def made_with(*packages: str) -> dict[str, str]:
    """Python's version and those of the packages, "absent" for what is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
