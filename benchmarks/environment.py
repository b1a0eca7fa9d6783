"""Where a figure was measured: without it a figure means nothing."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from benchmarks.load.generator import chosen

_CPU = Path("/proc/cpuinfo")
PACKAGES = ("onnxruntime", "numpy", "uvicorn", "httptools", "uvloop", "fastapi", "tokenizers", "orjson")


def environment() -> dict[str, object]:
    """Processor, cores, memory, versions and the commit."""
    named = (line.split(":")[1].strip() for line in _CPU.read_text().splitlines() if line.startswith("model name"))
    return {
        "cpu": next(named, "unknown"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "closed_loops_by": chosen().name,
        "commit": _commit() or "unknown",
        "note": "load generator and server share the cores; machines are noisy: read ratios, not absolute figures",
    }


def _commit() -> str:
    """Empty where there is no git, as in a container."""
    git = shutil.which("git")
    if git is None:
        return ""
    return subprocess.run(
        [git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
