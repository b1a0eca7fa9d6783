"""Triton's shell around `logic.py`: token embeddings and mask to OUTPUT0 (FP32 [batch, width])."""

import json

import logic
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Created once per instance by Triton's Python backend, or by Roundhouse's embedded engine."""

    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.mode = parameters["POOLING"]["string_value"]
        self.is_normalized = parameters["NORMALIZE"]["string_value"] == "true"

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        """One request, by itself."""
        tokens = pb_utils.get_input_tensor_by_name(request, "token_embeddings").as_numpy()
        mask = pb_utils.get_input_tensor_by_name(request, "attention_mask").as_numpy()
        vectors = logic.pool(tokens, mask, self.mode)
        if self.is_normalized:
            vectors = logic.normalize(vectors)
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", np.ascontiguousarray(vectors, dtype=np.float32))])
