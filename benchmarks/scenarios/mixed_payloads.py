"""What does a 640 x 480 JPEG cost as a JSON number list, as a binary tensor and as image/jpeg, alone and in a mixture?

`touch` takes the mean of the JPEG's 100 KB, or gives them back, and costs nothing else, so that what remains is moving,
reading and writing the body. `photo` decodes, resizes and classifies. The peer of both is Triton's own SageMaker
endpoint with the same model (where `make triton` has been; its ONNX and DALI backends are Roundhouse's, since the pip
Triton has none). What `photo` does is also measured in a loop with no server. In the mixture one caller of each kind
asks at the same time. Ratios are taken within each round.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.baselines.bare_triton import TRITON
from benchmarks.baselines.own_triton import own_triton
from benchmarks.load.processes import measured, measured_together, serving
from benchmarks.payloads import ARCHIVES, Body, as_array, binary_tensor, json_numbers, photo, touch_store
from benchmarks.scenarios.images import PHOTO, PhotoParts, bare_photos
from benchmarks.suite.figures import over_rounds, ratios
from benchmarks.suite.pace import Pace

TOUCH: Final = "touch"
CONCURRENCIES: Final = (1, 4)
Rounds = dict[str, list[dict[str, float]]]


def run(pace: Pace) -> dict[str, Any]:
    """Measure; returns a JSON-ready result."""
    jpeg = photo()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        repository = touch_store(root / "store")
        result = {"rounds": pace.of(3, 2), "jpeg_bytes": len(jpeg), "touch": _touched(root, repository, jpeg, pace)}
        if not TRITON.is_dir():
            result["not_here"] = {"triton": "no .triton here: make triton"}
        result["photo"] = _photo(root, jpeg, pace)
    return result


def _touched(root: Path, repository: Path, jpeg: bytes, pace: Pace) -> dict[str, Any]:
    """The model that costs nothing: this server, then Triton's SageMaker endpoint, alternating where both are there."""
    array = as_array(jpeg)
    bodies = {
        "JSON list": json_numbers("INPUT0", array, "OUTPUT0"),
        "JSON list, echoed as JSON": json_numbers("INPUT0", array, "ECHO"),
        "binary tensor": binary_tensor("INPUT0", array, "OUTPUT0"),
    }
    served: Rounds = {}
    peer: Rounds = {}
    with (
        serving(root / "store", "--cache-dir", str(root / "touch"), "--preload", TOUCH) as port,
        _triton(repository, TOUCH) as triton_port,
    ):
        for _ in pace.rounds(of="touch"):
            _round(served, bodies, port, TOUCH, pace)
            _round(peer, bodies, triton_port, TOUCH, pace)
    return _beside(served, peer)


def _photo(root: Path, jpeg: bytes, pace: Pace) -> dict[str, Any]:
    array = as_array(jpeg)[None, :]
    tensors = {"JSON list": json_numbers("INPUT", array), "binary tensor": binary_tensor("INPUT", array)}
    bodies = {**tensors, "image/jpeg": Body(jpeg, {"content-type": "image/jpeg"})}
    parts = PhotoParts.unpacked(root / "photo", jpeg)
    bare: list[dict[str, float]] = []
    served: Rounds = {}
    peer: Rounds = {}
    mixed: Rounds = {name: [] for name in bodies}
    with (
        serving(ARCHIVES, "--cache-dir", str(root / "photos"), "--preload", PHOTO) as port,
        _triton(root / "photo", "photo") as triton_port,
    ):
        for _ in pace.rounds(of="photo"):
            bare.append(bare_photos(parts, pace.seconds(4, 1.5)))
            _round(served, bodies, port, PHOTO, pace)
            _round(peer, tensors, triton_port, PHOTO, pace)
            loads = [body.load(port, PHOTO, 1, pace.seconds(6, 3)) for body in bodies.values()]
            for name, row in zip(bodies, measured_together(loads), strict=True):
                mixed[name].append(row)
    beside = _beside(served, peer)
    for name, rows in served.items():
        beside["served"][name] |= ratios("throughput_vs_bare", _rates(rows), [row["photos_per_s"] for row in bare])
        if name.endswith(" x 1"):
            beside["served"][name] |= ratios("p50_vs_bare", _p50s(rows), _p50s(bare))
    return {
        "bare": over_rounds(bare),
        **beside,
        "mixture": {
            name: over_rounds(rows) | ratios("p50_vs_alone", _p50s(rows), _p50s(served[f"{name} x 1"]))
            for name, rows in mixed.items()
        },
    }


@contextmanager
def _triton(repository: Path, model: str) -> Iterator[int | None]:
    """The port of Triton's SageMaker endpoint; None where there is no Triton."""
    if not TRITON.is_dir():
        yield None
        return
    with own_triton(repository, model) as triton:
        yield triton.sagemaker_port


def _round(rows: Rounds, bodies: Mapping[str, Body], port: int | None, archive: str, pace: Pace) -> None:
    if port is None:
        return
    for name, body in bodies.items():
        for each in CONCURRENCIES:
            load = body.load(port, archive, each, pace.seconds(4, 1.5))
            rows.setdefault(f"{name} x {each}", []).append(measured(load))


def _beside(served: Rounds, peer: Rounds) -> dict[str, Any]:
    """Both sides' figures, with ratios where there is a peer's row for one of ours."""
    ours: dict[str, dict[str, Any]] = {name: over_rounds(rows) for name, rows in served.items()}
    for name, rows in peer.items():
        ours[name] |= ratios("throughput_vs_triton_sagemaker", _rates(served[name]), _rates(rows))
        ours[name] |= ratios("p50_vs_triton_sagemaker", _p50s(served[name]), _p50s(rows))
    theirs = {"triton's SageMaker endpoint": {name: over_rounds(rows) for name, rows in peer.items()}}
    return {"served": ours, **(theirs if peer else {})}


def _rates(rows: list[dict[str, float]]) -> list[float]:
    return [row["requests_per_s"] for row in rows]


def _p50s(rows: list[dict[str, float]]) -> list[float]:
    return [row["p50_ms"] for row in rows]
