"""What does a second prompt on the same picture cost, when its embedding is kept?

The tiny SAM (real architecture, random weights), a 640 x 480 JPEG and a point, the mask answered as PNG. `first`: every
request brings a picture that was not seen before, so the encoder runs. `next`: one picture, another point each time, so
that the decoder runs alone. `nothing kept`: as `next`, on a server that keeps no answers. Ratios within each round.
"""

import base64
import io
import json
import random
import tempfile
from contextlib import ExitStack
from typing import Any, Final

import numpy as np
from PIL import Image

from benchmarks.load.closed_loop import Load
from benchmarks.load.processes import measured, serving
from benchmarks.payloads import ARCHIVES, JSON, archive_file, photo
from benchmarks.suite.figures import over_rounds, ratios
from benchmarks.suite.pace import Pace

ARCHIVE: Final = "segment-anything-tiny.tar.gz"
PROMPTS: Final = 64
CALLERS: Final = 4


def next_bodies(jpeg: bytes) -> list[str]:
    """One picture, a point each."""
    return [_body(jpeg, point) for point in _points()]


def first_bodies(jpeg: bytes, count: int, seed: int) -> list[str]:
    """As many pictures: one pixel in each is different."""
    with Image.open(io.BytesIO(jpeg)) as image:
        pixels = np.asarray(image.convert("RGB")).copy()
    choose = np.random.default_rng(seed)
    found = []
    for index in range(count):
        pixels[index // 640, index % 640] = choose.integers(0, 256, 3)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=93)
        found.append(_body(file.getvalue(), _points()[index % PROMPTS]))
    return found


def _points() -> list[tuple[int, int]]:
    choose = random.Random(7)
    return [(choose.randrange(20, 620), choose.randrange(20, 460)) for _ in range(PROMPTS)]


def _body(jpeg: bytes, point: tuple[int, int]) -> str:
    return json.dumps({"image": base64.b64encode(jpeg).decode(), "points": [point], "point_labels": [1]})


def run(pace: Pace) -> dict[str, Any]:
    """Measure; returns a JSON-ready result."""
    archive_file(ARCHIVE)
    jpeg = photo()
    same = next_bodies(jpeg)
    rows: dict[str, list[dict[str, float]]] = {
        name: [] for name in ("first", "next", f"next x {CALLERS}", "nothing kept")
    }
    with ExitStack() as stack:
        ports = []
        for flags in ((), ("--response-cache", "0")):
            cache = stack.enter_context(tempfile.TemporaryDirectory())
            ports.append(stack.enter_context(serving(ARCHIVES, "--cache-dir", cache, "--preload", ARCHIVE, *flags)))
        kept, not_kept = ports
        for index in pace.rounds():
            unseen = first_bodies(jpeg, pace.of(150, 80), seed=index)
            rows["first"].append(measured(_load(kept, unseen, 1, pace)))
            rows["next"].append(measured(_load(kept, same, 1, pace)))
            rows[f"next x {CALLERS}"].append(measured(_load(kept, same, CALLERS, pace)))
            rows["nothing kept"].append(measured(_load(not_kept, same, 1, pace)))
    first = [row["p50_ms"] for row in rows["first"]]
    return {
        "rounds": len(first),
        "prompts": {
            name: over_rounds(found) | ratios("p50_vs_first", [row["p50_ms"] for row in found], first)
            for name, found in rows.items()
        },
    }


def _load(port: int, bodies: list[str], callers: int, pace: Pace) -> Load:
    headers = {**JSON, "accept": "image/png", "x-amzn-sagemaker-target-model": ARCHIVE}
    return Load("127.0.0.1", port, "/invocations", headers, bodies, callers, pace.seconds(4, 2))
