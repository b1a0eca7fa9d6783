"""The bare engine's cold start: session, then first run, in a process where the runtime is imported and has run once.

`python -m benchmarks.baselines.bare_cold_start MODEL TOKENIZER TEXT` prints {"session_ms", "first_run_ms",
"tokenizer_ms"}. The session has the server's options. The text is tokenised before the clock starts; what loading the
tokenizer takes is told apart, since a server's first answer needs it too.
"""

import json
import os
import sys
from time import perf_counter

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper
from tokenizers import Tokenizer

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _touch_runtime() -> None:
    """What the runtime sets up once belongs to no model."""
    edges = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", edges[:1], edges[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    ort.InferenceSession(model.SerializeToString(), _options()).run(None, {"x": np.zeros(1, np.float32)})


def main() -> None:
    """Load once, run once."""
    model, tokenizer_file, text = sys.argv[1:]
    began = perf_counter()
    tokenizer = Tokenizer.from_file(tokenizer_file)
    tokenizer_s = perf_counter() - began
    encoding = tokenizer.encode_batch_fast([text])[0]
    arrays = (encoding.ids, encoding.attention_mask, encoding.type_ids)
    feed = {name: np.array([array], np.int64) for name, array in zip(_INPUTS, arrays, strict=True)}
    _touch_runtime()
    began = perf_counter()
    session = ort.InferenceSession(model, _options(), providers=["CPUExecutionProvider"])
    loaded = perf_counter()
    session.run(None, feed)
    ran = perf_counter()
    times = {"session_ms": loaded - began, "first_run_ms": ran - loaded, "tokenizer_ms": tokenizer_s}
    print(json.dumps({name: round(seconds * 1e3, 2) for name, seconds in times.items()}))


if __name__ == "__main__":
    main()
