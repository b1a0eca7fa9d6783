"""What an ONNX graph takes on the CPU: memory and time, in a process of its own, so that nothing else is counted."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_PROBE = """
import json, sys, time
import numpy as np, onnxruntime as ort

def resident_bytes():
    with open("/proc/self/smaps_rollup") as file:
        return 1024 * sum(int(line.split()[1]) for line in file if line.startswith("Rss:"))

feeds = dict(np.load(sys.argv[2]))
options = ort.SessionOptions()
options.log_severity_level = 3
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
start = resident_bytes()
begin = time.perf_counter()
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
load_s = time.perf_counter() - begin
times = []
while len(times) < 2 or (sum(times) < 1.0 and len(times) < 31):
    begin = time.perf_counter(); session.run(None, feeds); times.append(time.perf_counter() - begin)
print(json.dumps({"bytes": resident_bytes() - start, "load_s": load_s, "p50_s": sorted(times)[len(times) // 2]}))
"""


@dataclass(frozen=True, slots=True)
class MeasuredGraph:
    """Bytes of process memory with one run's workspace, seconds to load, seconds of a run (median)."""

    bytes: int
    load_s: float
    p50_s: float


def measure_graph(model: Path, feeds: Mapping[str, npt.NDArray[Any]]) -> MeasuredGraph:
    """Load `model` and run it on `feeds` (by input name) for about a second, in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "feeds.npz")
        np.savez(file, **dict(feeds))
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, str(model), str(file)], capture_output=True, text=True, check=True
        )
    return MeasuredGraph(**json.loads(done.stdout))
