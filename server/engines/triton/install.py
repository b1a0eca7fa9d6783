"""Installs a real Triton for tests and CPU hosts: `python -m server.engines.triton.install FOLDER`.

The binary comes inside the PyPI wheel nvidia-pytriton, whose pins are old; it is therefore unpacked alone, into a
folder of its own, and nothing of its Python code is used.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from server.domain.clock import SystemClock
from server.domain.errors import RoundhouseError
from server.engines.triton.engine import TritonEngine
from server.engines.triton.options import TritonOptions
from server.engines.triton.process.discovery import installation_in

WHEEL: Final = "nvidia-pytriton==0.7.0"


def install(folder: Path) -> None:
    """Unpack the wheel into `folder`, replacing what is there. Raises subprocess.CalledProcessError, OSError."""
    parent = folder.resolve().parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".triton-", dir=parent) as draft:
        target = Path(draft) / "wheel"
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile")
        subprocess.run((*pip, "--no-deps", "--target", str(target), WHEEL), check=True)
        shutil.rmtree(folder, ignore_errors=True)
        target.rename(folder)


async def verify(folder: Path) -> str:
    """Start the Triton in `folder` and stop it; returns its version. Raises TritonMissing, EngineLost."""
    with tempfile.TemporaryDirectory() as runtime:
        options = TritonOptions(runtime_dir=Path(runtime), root=folder)
        engine = TritonEngine(options, SystemClock(), os.environ)
        await engine.start(lambda _digests: None)
        try:
            return str(engine.describe()["version"])
        finally:
            await engine.stop()


def main(arguments: Sequence[str]) -> int:
    """Install unless it is there, then verify. Returns the exit status."""
    folder = Path(arguments[0] if arguments else ".triton")
    try:
        if installation_in(folder) is None:
            print(f"== triton: unpacking {WHEEL} into {folder} (55 MB to download, 140 MB on disk)", flush=True)
            install(folder)
        print("== triton: starting it once", flush=True)
        version = asyncio.run(verify(folder))
    except (RoundhouseError, subprocess.CalledProcessError, OSError) as error:
        print(f"== triton: failed: {error}", file=sys.stderr)
        return 1
    print(f"== triton: tritonserver {version} runs from {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
