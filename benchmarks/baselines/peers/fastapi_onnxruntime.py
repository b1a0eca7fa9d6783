"""What many write by hand: FastAPI and onnxruntime, one text per call, no batching.

`python -m benchmarks.baselines.peers.fastapi_onnxruntime GRAPH TOKENIZER THREADS` serves `POST /embed {"text": ...}` on
a free loopback port, in FastAPI's thread pool; THREADS are those of one call, 0 leaves onnxruntime its default.
"""

import socket
import sys

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from tokenizers import Tokenizer

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Text(BaseModel):
    """A request."""

    text: str


def application(graph: str, tokenizer_file: str, threads: int) -> FastAPI:
    """The whole server."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(tokenizer_file)
    app = FastAPI()

    @app.post("/embed")
    def embed(text: Text) -> dict[str, list[float]]:
        encoding = tokenizer.encode(text.text)
        rows = (encoding.ids, encoding.attention_mask, encoding.type_ids)
        feed = {name: np.array([row], np.int64) for name, row in zip(_INPUTS, rows, strict=True)}
        return {"embedding": session.run(None, feed)[0][0].tolist()}

    return app


def main() -> None:
    """Serve until terminated."""
    graph, tokenizer, threads = sys.argv[1:]
    app = application(graph, tokenizer, int(threads))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        print(f"ready on port {listening.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
