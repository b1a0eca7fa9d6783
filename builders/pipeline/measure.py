"""What a step takes: memory and time, measured in a process of its own so that nothing else is counted."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_PROBE = """
import json, sys, time
import numpy as np, onnxruntime as ort
from tokenizers import Tokenizer

def resident_bytes():
    with open("/proc/self/smaps_rollup") as file:
        return 1024 * sum(int(line.split()[1]) for line in file if line.startswith("Rss:"))

tokenizer_file, model_file, texts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
Tokenizer.from_str('{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,'
    '"pre_tokenizer":null,"post_processor":null,"decoder":null,"model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}}')
options = ort.SessionOptions()
options.log_severity_level = 3
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
start = resident_bytes()
tokenizer = Tokenizer.from_file(tokenizer_file)
after_tokenizer = resident_bytes()
begin = time.perf_counter()
session = ort.InferenceSession(model_file, options, providers=["CPUExecutionProvider"])
load_s = time.perf_counter() - begin
def run():
    encodings = tokenizer.encode_batch(texts)
    feed = {"input_ids": [e.ids for e in encodings], "attention_mask": [e.attention_mask for e in encodings],
            "token_type_ids": [e.type_ids for e in encodings]}
    wanted = {i.name for i in session.get_inputs()}
    session.run(None, {k: np.array(v, np.int64) for k, v in feed.items() if k in wanted})
times = []
for _ in range(31):
    begin = time.perf_counter(); run(); times.append(time.perf_counter() - begin)
end = resident_bytes()
print(json.dumps({"tokenizer_bytes": after_tokenizer - start, "model_bytes": end - after_tokenizer,
                  "load_s": load_s, "p50_s": sorted(times)[15]}))
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes of process memory that the tokenizer and the graph take, seconds to load the graph and to run one text."""

    tokenizer_bytes: int
    model_bytes: int
    load_s: float
    p50_s: float


def measure_text_model(tokenizer: Path, model: Path, text: str) -> Measured:
    """Load and run both on the CPU in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, str(tokenizer), str(model), json.dumps([text])],
        capture_output=True,
        text=True,
        check=True,
    )
    return Measured(**json.loads(done.stdout))
