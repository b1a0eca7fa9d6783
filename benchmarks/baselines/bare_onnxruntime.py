"""The bare engine: the same graph in a loop in one process, with no server.

`python -m benchmarks.baselines.bare_onnxruntime trivial MODEL` or `... sentence MODEL TOKENIZER TEXTS.json`
prints {"p50_ms", "requests_per_s"}.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

SECONDS = 3.0


def _session(model: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _trivial(model: str) -> Callable[[int], None]:
    session = _session(model)
    x = np.arange(16, dtype=np.float32).reshape(1, 16)
    return lambda _: session.run(None, {"INPUT0": x})


def _sentence(model: str, tokenizer_file: str, texts_file: str) -> Callable[[int], None]:
    session, tokenizer = _session(model), Tokenizer.from_file(tokenizer_file)
    texts = json.loads(Path(texts_file).read_text())

    def run(index: int) -> None:
        encoding = tokenizer.encode_batch_fast([texts[index % len(texts)]])[0]
        arrays = (encoding.ids, encoding.attention_mask, encoding.type_ids)
        names = ("input_ids", "attention_mask", "token_type_ids")
        session.run(None, {name: np.array([array], np.int64) for name, array in zip(names, arrays, strict=True)})

    return run


def main() -> None:
    """Run the loop that the command line names."""
    kind, *files = sys.argv[1:]
    run = _trivial(*files) if kind == "trivial" else _sentence(*files)
    for index in range(20):
        run(index)
    times: list[float] = []
    begin = perf_counter()
    while perf_counter() - begin < SECONDS:
        start = perf_counter()
        run(len(times))
        times.append(perf_counter() - start)
    p50 = sorted(times)[len(times) // 2]
    print(json.dumps({"p50_ms": round(p50 * 1e3, 4), "requests_per_s": round(len(times) / sum(times), 1)}))


if __name__ == "__main__":
    main()
