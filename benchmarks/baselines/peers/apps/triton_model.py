# mypy: ignore-errors
# ruff: noqa: D102 - the methods are the framework's
"""Triton: one Python model that does everything; it lies in a model's folder, with `embedding.py` beside it."""

import json

import numpy as np
import triton_python_backend_utils as triton
from embedding import Embedder


class TritonPythonModel:
    """One per instance, each in a process of its own."""

    def initialize(self, args):
        told = json.loads(args["model_config"])["parameters"]
        self.embedder = Embedder(*(told[name]["string_value"] for name in ("graph", "tokenizer")))

    def execute(self, requests):
        return [triton.InferenceResponse([self._answer(request)]) for request in requests]

    def _answer(self, request):
        texts = triton.get_input_tensor_by_name(request, "INPUT0").as_numpy().ravel()
        vectors = self.embedder.embed([text.decode() for text in texts])
        return triton.Tensor("OUTPUT0", vectors.astype(np.float32))
