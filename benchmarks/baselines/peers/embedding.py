"""The model as every peer runs it: tokenise, one run of the pooled graph, vectors. Needs three packages and no more.

Each peer's program calls this from its own environment, so that what differs between them is the server alone.
"""

import os
from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

BATCH = 4
"""Texts that those peers gather which gather at all: on two cores larger batches of mixed lengths are slower."""
WAIT_S = 0.002
"""How long they wait for more."""
WORKERS = 2
"""Their processes, with one thread each: on two cores that is faster than one with two."""


class Embedder:
    """One session. `threads` are those of a run; 0 leaves onnxruntime its default."""

    def __init__(self, graph: str, tokenizer: str, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        if threads == 1:
            options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(tokenizer)
        self._tokenizer.enable_padding()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Float32 [texts, 384]; texts of a batch are padded to the longest."""
        encodings = self._tokenizer.encode_batch(list(texts))
        feed = {
            "input_ids": np.array([each.ids for each in encodings], np.int64),
            "attention_mask": np.array([each.attention_mask for each in encodings], np.int64),
            "token_type_ids": np.array([each.type_ids for each in encodings], np.int64),
        }
        (vectors,) = self._session.run(None, feed)
        return np.asarray(vectors, np.float32)


def from_environment() -> Embedder:
    """As the variables say that whoever starts a peer sets. Raises KeyError where they are missing."""
    return Embedder(os.environ["PEER_GRAPH"], os.environ["PEER_TOKENIZER"])
