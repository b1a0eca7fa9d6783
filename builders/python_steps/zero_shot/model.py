"""Triton's shell around `logic.py`, `pairs.py` and `scoring.py`: calls the step `nli` for the logits of pairs (BLS).

TEXT BYTES [batch, 1], LABELS BYTES [batch, labels], and (optional) HYPOTHESIS_TEMPLATE BYTES [batch, 1] and MULTI_LABEL
BOOL [batch, 1] to SCORES FP32 [batch, labels], in the order of the labels.

With dynamic batching (LABELS may be ragged) `execute` gets the requests of several callers, and scores them together.
"""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from . import logic, pairs, scoring


class TritonPythonModel:
    """Created once per instance by Triton's Python backend, or by Roundhouse's embedded engine."""

    def initialize(self, args):
        said = {key: each["string_value"] for key, each in json.loads(args["model_config"])["parameters"].items()}
        folder = Path(args["model_repository"]) / args["model_version"]
        self.max_labels = int(said["MAX_LABELS"])
        self.nli_inputs = said["NLI_INPUTS"].split(",")
        self.scorer = scoring.Scorer(
            pairs.Tokens(folder, int(said["MAX_LENGTH"]), int(said["PAD_ID"])),
            int(said["ENTAILMENT_ID"]),
            int(said["CONTRADICTION_ID"]),
            scoring.Limits(int(said["NLI_ROWS"]), int(said["NLI_TOKENS"])),
        )

    def execute(self, requests):
        read = [self.read(request) for request in requests]
        outcomes = iter(self.scorer.score([rows for rows in read if isinstance(rows, list)], self.run_nli))
        return [answer(next(outcomes) if isinstance(rows, list) else rows) for rows in read]

    def read(self, request):
        """The rows of a request, or what is wrong with it."""
        try:
            return logic.read_rows(
                _array(request, "TEXT"),
                _array(request, "LABELS"),
                _array(request, "HYPOTHESIS_TEMPLATE"),
                _array(request, "MULTI_LABEL"),
                self.max_labels,
            )
        except ValueError as error:
            return error

    def run_nli(self, *inputs):
        """One batch of pairs through the NLI step."""
        arrays = zip(("input_ids", "attention_mask", "token_type_ids"), inputs, strict=True)
        called = pb_utils.InferenceRequest(
            model_name="nli",
            requested_output_names=["logits"],
            inputs=[pb_utils.Tensor(name, array) for name, array in arrays if name in self.nli_inputs],
        ).exec()
        if called.has_error():
            raise scoring.NliFailed(called.error().message())
        return pb_utils.get_output_tensor_by_name(called, "logits").as_numpy()


def answer(outcome):
    """A response, also to what went wrong."""
    if isinstance(outcome, np.ndarray):
        return pb_utils.InferenceResponse([pb_utils.Tensor("SCORES", np.ascontiguousarray(outcome))])
    code = pb_utils.TritonError.INVALID_ARG if isinstance(outcome, ValueError) else pb_utils.TritonError.INTERNAL
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(outcome), code))


def _array(request, name):
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()
