"""The image work alone: DALI's pipeline and the classifier in a loop in one process, with no server.

`python -m benchmarks.baselines.bare_photo PIPELINE GRAPH PHOTO SECONDS [BATCH]` prints {"photos_per_s", "p50_ms"};
p50 is that of a batch, one photo unless BATCH says more.
"""

import json
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import onnxruntime as ort
from nvidia.dali.pipeline import Pipeline

_THREADS = 2


def main() -> None:
    """Run the loop that the command line names."""
    pipeline_file, graph, photo_file, seconds, *more = sys.argv[1:]
    batch = int(more[0]) if more else 1
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    pipeline = Pipeline.deserialize(  # type: ignore[no-untyped-call]
        Path(pipeline_file).read_bytes(), batch_size=batch, num_threads=_THREADS, device_id=None, prefetch_queue_depth=1
    )
    pipeline.build()
    content = np.frombuffer(Path(photo_file).read_bytes(), np.uint8)
    times: list[float] = []
    until = perf_counter() + float(seconds)
    while perf_counter() < until or len(times) < 4:
        start = perf_counter()
        pipeline.feed_input("INPUT", [content] * batch)
        (pixels,) = pipeline.run()
        session.run(None, {"IMAGE": pixels.as_cpu().as_array()})
        times.append(perf_counter() - start)
    kept = sorted(times[2:])
    row = {"photos_per_s": round(batch * len(kept) / sum(kept), 2), "p50_ms": round(kept[len(kept) // 2] * 1e3, 3)}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
