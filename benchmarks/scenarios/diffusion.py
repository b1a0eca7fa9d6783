"""How many denoising steps a second does a diffusion model make behind the server, against its denoiser alone?

The tiny Stable Diffusion (real architecture, random weights): 64 x 64 pixels, guidance, PNG out. A step's cost is the
slope between pictures of few and of many steps, so that text encoder, decoder and PNG count apart. Beside it in each
round: the UNet in a loop with no server. A model this small shows what the loop costs, not what a GPU would.
"""

import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.load.closed_loop import Load
from benchmarks.load.processes import baseline, measured, serving
from benchmarks.payloads import ARCHIVES, JSON, archive_file
from benchmarks.suite.figures import over_rounds, ratios, spread
from benchmarks.suite.pace import Pace

ARCHIVE: Final = "stable-diffusion-tiny.tar.gz"
SIDE: Final = 64
FEW, MANY = 2, 22
CALLERS: Final = 4


def bodies(steps: int, count: int = 32) -> list[str]:
    """Requests for pictures with a seed each."""
    wish = {"prompt": "a lighthouse in a storm", "num_inference_steps": steps, "scheduler": "ddim"}
    size = {"height": SIDE, "width": SIDE}
    return [json.dumps({**wish, **size, "seed": seed}) for seed in range(count)]


def run(pace: Pace) -> dict[str, Any]:
    """Measure; returns a JSON-ready result."""
    bare: list[dict[str, float]] = []
    rows: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive_file(ARCHIVE)) as packed:
            packed.extractall(Path(folder, "unpacked"), filter="data")
        graph = Path(folder, "unpacked", "unet/1/model.onnx")
        flags = ("--cache-dir", str(Path(folder, "cache")), "--preload", ARCHIVE)
        with serving(ARCHIVES, *flags) as port:
            for _ in pace.rounds():
                bare.append(baseline("bare_unet", str(graph), str(SIDE), f"{pace.seconds(4, 2)}"))
                for steps, callers in ((FEW, 1), (MANY, 1), (MANY, CALLERS)):
                    load = _load(port, steps, callers, pace)
                    rows.setdefault(f"{steps} steps x {callers}", []).append(measured(load))
    few, many, together = rows.values()
    slope = [(b["p50_ms"] - a["p50_ms"]) / (MANY - FEW) / 1e3 for a, b in zip(few, many, strict=True)]
    alone = [row["steps_per_s"] for row in bare]
    rate = [MANY * row["requests_per_s"] for row in together]
    return {
        "rounds": len(bare),
        "pictures": {name: over_rounds(found) for name, found in rows.items()},
        "steps": {
            "bare denoiser": over_rounds(bare),
            "one caller": spread("steps_per_s", [1 / each for each in slope])
            | ratios("throughput_vs_bare", [1 / each for each in slope], alone)
            | spread("beside_steps_ms", [a["p50_ms"] - FEW * each * 1e3 for a, each in zip(few, slope, strict=True)]),
            f"{CALLERS} callers": spread("steps_per_s", rate) | ratios("throughput_vs_bare", rate, alone),
        },
    }


def _load(port: int, steps: int, callers: int, pace: Pace) -> Load:
    headers = {**JSON, "accept": "image/png", "x-amzn-sagemaker-target-model": ARCHIVE}
    return Load("127.0.0.1", port, "/invocations", headers, bodies(steps), callers, pace.seconds(5, 2))
