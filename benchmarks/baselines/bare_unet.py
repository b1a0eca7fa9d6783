"""The denoiser alone: a diffusion model's UNet in a loop in one process, with no scheduler and no server.

`python -m benchmarks.baselines.bare_unet GRAPH SIDE SECONDS` runs it on two rows at a time, as guidance does, for a
picture of SIDE x SIDE pixels, and prints {"steps_per_s"}.
"""

import json
import sys
from time import perf_counter

import numpy as np
import onnxruntime as ort

_ROWS = 2


def main() -> None:
    """Run the loop that the command line names; a small model is slower with two threads, so the better one counts."""
    graph, side, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    rates = {threads: _steps_per_s(graph, side, seconds / 2, threads) for threads in (1, 0)}
    print(json.dumps({"steps_per_s": round(max(rates.values()), 2)}))


def _steps_per_s(graph: str, side: int, seconds: float, threads: int) -> float:
    """With so many threads; 0: as many as cores."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    width = next(each.shape[-1] for each in session.get_inputs() if each.name == "embeddings")
    feed = {
        "latents": np.zeros((_ROWS, 4, side // 8, side // 8), np.float32),
        "timestep": np.full((_ROWS, 1), 500, np.float32),
        "embeddings": np.zeros((_ROWS, 77, width), np.float32),
    }
    for _ in range(3):
        session.run(None, feed)
    steps, begin = 0, perf_counter()
    while perf_counter() - begin < seconds:
        session.run(None, feed)
        steps += 1
    return steps / (perf_counter() - begin)


if __name__ == "__main__":
    main()
