"""An environment of its own for each peer, `var/peers/KEY`: their pins contradict ours and each other's."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.baselines.peers.peer import Peer

ROOT: Final = Path("var/peers")
_PATIENCE_S: Final = 1800


class NotInstallable(RuntimeError):
    """A peer's packages cannot be had here. The message says what pip said."""


def python(peer: Peer, root: Path = ROOT) -> Path:
    """The Python that runs the peer: of its own environment, or ours where it needs none."""
    return (root / peer.key / "bin/python").absolute() if peer.packages else Path(sys.executable)


def is_made(peer: Peer, root: Path = ROOT) -> bool:
    """Whether its environment has what it needs now."""
    if not peer.packages:
        return True
    try:
        made = json.loads(_mark(peer, root).read_text())
    except (OSError, ValueError):
        return False
    return bool(made == list(peer.packages))


def make(peer: Peer, tell: Callable[[str], None], root: Path = ROOT) -> None:
    """Make its environment unless that is there, telling what goes on.

    Raises:
        NotInstallable: pip failed; nothing half-made is left.
    """
    if is_made(peer, root):
        return
    folder = root / peer.key
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    tell(f"making {folder} with {', '.join(peer.packages)} (minutes, and up to some GB)")
    try:
        _run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(python(peer, root)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *peer.packages])
    except NotInstallable:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _mark(peer, root).write_text(json.dumps(list(peer.packages)))


def versions(peer: Peer, root: Path = ROOT) -> str:
    """What runs there, `litserve 0.2.19, onnxruntime 1.24.1`; of peers in our environment, that of onnxruntime."""
    names = [re.split(r"[^\w.-]", each)[0] for each in peer.packages] or ["fastapi", "onnxruntime"]
    code = f"from importlib.metadata import version; print(', '.join(f'{{n}} {{version(n)}}' for n in {names!r}))"
    done = subprocess.run([python(peer, root), "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _mark(peer: Peer, root: Path) -> Path:
    return root / peer.key / "made.json"


def _run(command: list[str]) -> None:
    nice = shutil.which("nice")
    try:
        subprocess.run(
            [nice, *command] if nice else command,
            capture_output=True, text=True, check=True, timeout=_PATIENCE_S, env=os.environ | {"PYTHONPATH": ""},
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if "ERROR" in line or "error" in line] or [
            error.stderr[-200:]
        ]
        raise NotInstallable(f"pip cannot install it here: {' '.join(said[-1:])[:300]}") from error
    except subprocess.TimeoutExpired as error:
        raise NotInstallable(f"pip was not done after {_PATIENCE_S} s") from error
