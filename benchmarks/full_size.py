"""Do the full-size models build and answer here, and what do they take? `python -m benchmarks.full_size [FAMILY...]`.

Not a test: it takes half an hour and 12 GB. The weights are random (no package ships real ones of this size), which
costs the same time and memory. Each family is built by the command line in a process of its own, served by a server of
its own, and asked once while it is cold and once while it is warm. A family that fails is recorded as failed.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rich.console import Console

from benchmarks.environment import environment
from benchmarks.load.processes import ROUNDHOUSE, serving

RESULT: Final = Path(__file__).parent / "results" / "full_size.json"
PHOTO: Final = Path("model_repository/photos/coffee.png")
_LIMIT_S: Final = 1800
_CONSOLE: Final = Console()


@dataclass(frozen=True, slots=True)
class Family:
    """What to build, and what to ask."""

    command: tuple[str, ...]
    document: dict[str, Any]


def _families() -> dict[str, Family]:
    photo = base64.b64encode(PHOTO.read_bytes()).decode()
    labels = {"candidate_labels": ["delivery", "quality", "price"]}
    return {
        "image-classification": Family(("--weights", "random"), {"inputs": photo}),
        "zero-shot-classification": Family(
            ("--weights", "random", "--size", "large"), {"inputs": "The parcel came late.", "parameters": labels}
        ),
        "text-classification": Family(
            ("--weights", "random", "--architecture", "roberta", "--size", "base", "--labels", "good,bad"),
            {"inputs": "The parcel came late."},
        ),
        "segment-anything": Family(
            ("--weights", "random", "--size", "vit_b"), {"image": photo, "points": [[300, 200]], "point_labels": [1]}
        ),
        "stable-diffusion": Family(
            ("--weights", "random", "--size", "sd15"),
            {"prompt": "a lighthouse", "num_inference_steps": 2, "height": 256, "width": 256, "seed": 1},
        ),
    }


def run(name: str, family: Family) -> dict[str, Any]:
    """Build, serve and ask one family; the archive is thrown away."""
    with tempfile.TemporaryDirectory(dir="var") as folder:
        archive = Path(folder, "store", name)
        archive.parent.mkdir()
        figures = _build(name, family, archive)
        if "failed" not in figures:
            figures |= _serve(family, archive, Path(folder, "cache"))
    return figures


def _build(name: str, family: Family, archive: Path) -> dict[str, Any]:
    """Seconds, the process's largest resident memory, the archive's size, and the manifest's parity."""
    begin = time.perf_counter()
    command = [str(ROUNDHOUSE), "build", name, *family.command, "--no-measure", "--output", str(archive)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    took = time.perf_counter() - begin
    if process.returncode:
        return {"failed": told.strip().splitlines()[-1] if told.strip() else f"ended with {process.returncode}"}
    manifest = json.loads((archive / "roundhouse.json").read_text())
    return {
        "build_s": round(took, 1),
        "build_peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 2),
        "archive_gb": round(sum(file.stat().st_size for file in archive.rglob("*") if file.is_file()) / 1e9, 3),
        "parity": manifest["parity"],
    }


def _serve(family: Family, archive: Path, cache: Path) -> dict[str, Any]:
    flags = ("--cache-dir", str(cache), "--request-timeout-s", "900", "--load-timeout-s", "600")
    with serving(archive.parent, *flags) as port:
        cold = _ask(port, archive.name, family.document)
        warm = _ask(port, archive.name, family.document)
        with urlopen(f"http://127.0.0.1:{port}/admin/residency", timeout=30) as answer:
            charged = json.load(answer)["devices"]["cpu"]["charged_bytes"]
    return {"first_answer_s": cold, "next_answer_s": warm, "charged_gb": round(charged / 1e9, 3)}


def _ask(port: int, archive: str, document: dict[str, Any]) -> float | str:
    headers = {"content-type": "application/json", "x-amzn-sagemaker-target-model": archive}
    request = Request(f"http://127.0.0.1:{port}/invocations", json.dumps(document).encode(), headers)
    begin = time.perf_counter()
    try:
        with urlopen(request, timeout=_LIMIT_S) as answer:
            answer.read()
    except HTTPError as error:
        return f"{error.code}: {error.read()[:300].decode(errors='replace')}"
    return round(time.perf_counter() - begin, 2)


def main(names: list[str]) -> None:
    """Run the named families, or all; what was measured earlier of the others stays in the file."""
    families = _families()
    if unknown := set(names) - set(families):
        raise SystemExit(f"{', '.join(sorted(unknown))}: not among {', '.join(families)}")
    Path("var").mkdir(exist_ok=True)
    found: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    for name in names or families:
        free = shutil.disk_usage("var").free / 1e9
        _CONSOLE.print(f"[bold]{name}[/bold] ({free:.0f} GB of disk free)")
        found[name] = run(name, families[name]) | {"environment": environment()}
        _CONSOLE.print_json(json.dumps({key: value for key, value in found[name].items() if key != "environment"}))
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(found, indent=2) + "\n")
    if failed := [name for name in names or families if "failed" in found[name]]:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
