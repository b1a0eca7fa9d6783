"""What is sent: a trivial archive that costs the engine nothing, and English sentences of 8 to 64 tokens."""

import json
import random
from pathlib import Path

from onnx import TensorProto, helper

_WORDS = [
    "the",
    "model",
    "server",
    "loads",
    "archives",
    "when",
    "they",
    "are",
    "asked",
    "for",
    "and",
    "keeps",
    "those",
    "that",
    "are",
    "used",
    "most",
    "often",
    "in",
    "memory",
    "while",
    "others",
    "wait",
    "on",
    "disk",
    "until",
    "a",
    "request",
    "names",
    "them",
    "because",
    "loading",
    "takes",
    "longer",
    "than",
    "answering",
    "and",
    "room",
    "is",
    "always",
    "short",
]


def sentences(count: int = 256, seed: int = 7) -> list[str]:
    """Fixed sentences of 6 to 60 words."""
    choose = random.Random(seed)
    return [" ".join(choose.choice(_WORDS) for _ in range(choose.randint(6, 60))) for _ in range(count)]


def sentence_bodies(texts: list[str]) -> list[str]:
    """The sentences as KServe v2 requests that ask for a JSON answer."""
    return [
        json.dumps({"inputs": [{"name": "INPUT0", "shape": [1, 1], "datatype": "BYTES", "data": [text]}]})
        for text in texts
    ]


def trivial_store(root: Path) -> Path:
    """A store with one archive `trivial`: an identity over FP32 [-1, 16]; returns the graph's path."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])],
        "trivial",
        [helper.make_tensor_value_info("INPUT0", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("OUTPUT0", TensorProto.FLOAT, ["batch", 16])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder = root / "trivial" / "model"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "config.pbtxt").write_text(
        'name: "model"\nbackend: "onnxruntime"\nmax_batch_size: 64\n'
        'input { name: "INPUT0" data_type: TYPE_FP32 dims: 16 }\n'
        'output { name: "OUTPUT0" data_type: TYPE_FP32 dims: 16 }\n'
        "instance_group { count: 2 kind: KIND_CPU }\n"
        'parameters { key: "intra_op_thread_count" value: { string_value: "1" } }\n'
    )
    return folder / "1" / "model.onnx"


def trivial_body() -> str:
    """A KServe v2 request for the trivial archive."""
    return json.dumps({"inputs": [{"name": "INPUT0", "shape": [1, 16], "datatype": "FP32", "data": list(range(16))}]})
