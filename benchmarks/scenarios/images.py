"""How many photos a second go through DALI and a classifier, against the same work in a loop with no server?

Real EfficientNet-lite0, a 640 x 480 JPEG of 100 KB as `image/jpeg`, closed loops of 1, 4 and 16 callers. Beside them in
each round: DALI's pipeline and the classifier in one process, one photo at a time, and eight at a time.
"""

import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.load.processes import baseline, measured, serving
from benchmarks.payloads import ARCHIVES, Body, archive_file, photo
from benchmarks.suite.figures import over_rounds, ratios
from benchmarks.suite.pace import Pace

PHOTO: Final = "photo.tar.gz"
CONCURRENCIES: Final = (1, 4, 16)
BATCH: Final = 8


@dataclass(frozen=True, slots=True)
class PhotoParts:
    """Files of the bare runs."""

    pipeline: Path
    graph: Path
    jpeg: Path

    @classmethod
    def unpacked(cls, folder: Path, jpeg: bytes) -> "PhotoParts":
        """From the demo archive, with a photo beside. Raises RuntimeError where the archive was not built."""
        with tarfile.open(archive_file(PHOTO)) as packed:
            packed.extractall(folder, filter="data")
        (folder / "photo.jpeg").write_bytes(jpeg)
        return cls(folder / "preprocess/1/model.dali", folder / "classifier/1/model.onnx", folder / "photo.jpeg")


def bare_photos(parts: PhotoParts, seconds: float, batch: int = 1) -> dict[str, float]:
    """The work alone, in a process of its own."""
    return baseline("bare_photo", str(parts.pipeline), str(parts.graph), str(parts.jpeg), f"{seconds}", f"{batch}")


def run(pace: Pace) -> dict[str, Any]:
    """Measure; returns a JSON-ready result."""
    jpeg = photo()
    body = Body(jpeg, {"content-type": "image/jpeg"})
    alone: list[dict[str, float]] = []
    batched: list[dict[str, float]] = []
    served: dict[int, list[dict[str, float]]] = {each: [] for each in CONCURRENCIES}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        parts = PhotoParts.unpacked(root / "photo", jpeg)
        with serving(ARCHIVES, "--cache-dir", str(root / "cache"), "--preload", PHOTO) as port:
            for _ in pace.rounds():
                alone.append(bare_photos(parts, pace.seconds(4, 2)))
                batched.append(bare_photos(parts, pace.seconds(4, 2), BATCH))
                for each in CONCURRENCIES:
                    served[each].append(measured(body.load(port, PHOTO, each, pace.seconds(5, 2))))
    bare = [row["photos_per_s"] for row in alone]
    return {
        "rounds": len(alone),
        "bare": {"one at a time": over_rounds(alone), f"batches of {BATCH}": over_rounds(batched)},
        "served": {
            str(each): over_rounds(rows)
            | ratios("throughput_vs_bare", [row["requests_per_s"] for row in rows], bare)
            | (
                ratios("p50_vs_bare", [row["p50_ms"] for row in rows], [b["p50_ms"] for b in alone])
                if each == 1
                else {}
            )
            for each, rows in served.items()
        },
    }
