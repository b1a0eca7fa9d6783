"""Unpacks wrk from Debian's packages into a folder of its own: `python -m benchmarks.load.install`. Needs no root.

apt checks the packages against its signed index. Where that is not to be had (no apt, no network), closed loops are
driven by the loop in Python, and the results say so.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.load.wrk import FOLDER, found

PACKAGES: Final = ("wrk", "libluajit-5.1-2")
VERSION: Final = "4."
"""Its latencies are read with the correction of this one undone (`wrk.py`)."""


def install(folder: Path) -> None:
    """Download and unpack, replacing what is there. Raises subprocess.CalledProcessError, OSError."""
    parent = folder.resolve().parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".wrk-", dir=parent) as draft:
        packages, target = Path(draft, "packages"), Path(draft, "wrk")
        packages.mkdir()
        subprocess.run(("apt-get", "download", "-q", *PACKAGES), cwd=packages, check=True, capture_output=True)
        for package in sorted(packages.iterdir()):
            subprocess.run(("dpkg", "-x", str(package), str(target)), check=True)
        shutil.rmtree(folder, ignore_errors=True)
        target.rename(folder)


def main(arguments: Sequence[str]) -> int:
    """Install unless one is here. Returns the exit status."""
    folder = Path(arguments[0] if arguments else FOLDER)
    try:
        if found(folder) is None:
            print(f"== wrk: unpacking {' and '.join(PACKAGES)} into {folder} (300 KB)", flush=True)
            install(folder)
    except (subprocess.CalledProcessError, OSError) as error:
        said = getattr(error, "stderr", None) or b""
        print(f"== wrk: not to be had here ({error}) {said.decode(errors='replace').strip()}", file=sys.stderr)
        print("== wrk: (as root, `apt-get update` may help); the loop in Python drives closed loops", file=sys.stderr)
        return 1
    wrk = found(folder)
    if wrk is None or f"{VERSION}" not in wrk.name:
        print(f"== wrk: {wrk.name if wrk else 'nothing'} in {folder}, wanted version {VERSION}x", file=sys.stderr)
        return 1
    print(f"== wrk: {wrk.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
