"""Triton's shell around `logic.py`: INPUT0 (BYTES [batch, 1]) to input_ids, attention_mask, token_type_ids."""

from pathlib import Path

import logic
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Created once per instance by Triton's Python backend, or by Roundhouse's embedded engine."""

    def initialize(self, args):
        self.tokenizer = logic.load(Path(args["model_repository"]) / args["model_version"])

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        """One request is padded by itself, so that its result never depends on its neighbours."""
        cells = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
        try:
            texts = logic.decode_texts(cells)
        except ValueError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        ids, mask, types = logic.tokenize(self.tokenizer, texts)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("input_ids", ids),
                pb_utils.Tensor("attention_mask", mask),
                pb_utils.Tensor("token_type_ids", types),
            ]
        )
