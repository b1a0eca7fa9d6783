"""The bare limit for texts of mixed lengths: as many workers as cores, one thread each, sorted batches, no server.

`python -m benchmarks.baselines.bare_sorted MODEL TOKENIZER TEXTS.json SECONDS [BATCH WINDOW]`
takes WINDOW texts at a time, sorts them by length and runs batches of BATCH, tokenising included. The batches of a
window run in random order: the time is over in the middle of a window, which must not be the shorter half. Prints
{"texts_per_s", "cpu_s_per_1000", "batch", "window", "workers"}. Nobody waits for an answer here.
"""

import json
import os
import random
import sys
import threading
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer


class Worker(threading.Thread):
    """One session with one thread, and its share of the texts."""

    def __init__(self, model: str, tokenizer: str, texts: list[str], batch: int, window: int) -> None:
        super().__init__()
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(tokenizer)
        self.texts, self.batch, self.window = texts, batch, window
        self.done = 0
        self.until = 0.0
        self._run_batch(texts[:batch])

    def run(self) -> None:
        """Take windows until the time is over."""
        at, order = 0, random.Random(7)
        while perf_counter() < self.until:
            window = [self.texts[(at + i) % len(self.texts)] for i in range(self.window)]
            at += self.window
            window.sort(key=len)
            batches = [window[start : start + self.batch] for start in range(0, self.window, self.batch)]
            order.shuffle(batches)
            for batch in batches:
                self._run_batch(batch)
                self.done += len(batch)
                if perf_counter() >= self.until:
                    break

    def _run_batch(self, texts: list[str]) -> None:
        encodings = self.tokenizer.encode_batch_fast(texts)
        feed = {
            "input_ids": np.array([encoding.ids for encoding in encodings], np.int64),
            "attention_mask": np.array([encoding.attention_mask for encoding in encodings], np.int64),
            "token_type_ids": np.array([encoding.type_ids for encoding in encodings], np.int64),
        }
        self.session.run(None, feed)


def main() -> None:
    """Run the workers side by side."""
    model, tokenizer, texts_file, seconds, *sizes = sys.argv[1:]
    batch, window = map(int, sizes or ("4", "64"))
    texts = json.loads(Path(texts_file).read_text())
    count = len(os.sched_getaffinity(0))
    shares = [texts[i * len(texts) // count :] + texts[: i * len(texts) // count] for i in range(count)]
    workers = [Worker(model, tokenizer, share, batch, window) for share in shares]
    begin, used = perf_counter(), process_time()
    for worker in workers:
        worker.until = begin + float(seconds)
        worker.start()
    for worker in workers:
        worker.join()
    done = sum(worker.done for worker in workers)
    outcome = {
        "texts_per_s": round(done / (perf_counter() - begin), 1),
        "cpu_s_per_1000": round((process_time() - used) / done * 1000, 2),
        "batch": batch,
        "window": window,
        "workers": count,
    }
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
