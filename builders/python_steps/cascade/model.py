"""Triton's shell around `logic.py`: a first model for all rows of a request, a second for those where it fires (BLS).

TEXT BYTES [batch, 1] to SCORES and LOGITS FP32 [batch, first's classes], FINE_SCORES and FINE_LOGITS
FP32 [batch, second's classes] (zeros where the second did not run), FIRED BOOL [batch, 1].
"""

import json

import numpy as np
import triton_python_backend_utils as pb_utils

from . import logic

OUTPUTS = ("SCORES", "LOGITS")


class StepFailed(Exception):
    """A called step failed; carries its error."""

    def __init__(self, error):
        super().__init__(error.message())
        self.error = error


class TritonPythonModel:
    """Created once per instance by Triton's Python backend, or by Roundhouse's embedded engine."""

    def initialize(self, args):
        config = json.loads(args["model_config"])
        parameters = config["parameters"]
        self.fires = int(parameters["FIRES_ID"]["string_value"])
        self.threshold = float(parameters["THRESHOLD"]["string_value"])
        (fine,) = (output for output in config["output"] if output["name"] == "FINE_SCORES")
        self.fine_classes = int(fine["dims"][0])

    def execute(self, requests):
        """Each request by itself: padded to its own longest text, it never depends on its neighbours."""
        return [self.answer(request) for request in requests]

    def answer(self, request):
        """One request."""
        texts = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()
        try:
            first = run("first", texts)
            rows = logic.fired(first["SCORES"], self.fires, self.threshold)
            second = run("second", texts[rows]) if rows.any() else {}
        except StepFailed as failure:
            return pb_utils.InferenceResponse(error=failure.error)
        fine = logic.spread(rows, second, OUTPUTS, self.fine_classes)
        return pb_utils.InferenceResponse(
            [
                *(pb_utils.Tensor(name, first[name]) for name in OUTPUTS),
                *(pb_utils.Tensor(f"FINE_{name}", array) for name, array in zip(OUTPUTS, fine, strict=True)),
                pb_utils.Tensor("FIRED", rows[:, None]),
            ]
        )


def run(model, texts):
    """A stage's outputs by name."""
    called = pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=list(OUTPUTS),
        inputs=[pb_utils.Tensor("TEXT", np.ascontiguousarray(texts))],
    ).exec()
    if called.has_error():
        raise StepFailed(called.error())
    return {name: pb_utils.get_output_tensor_by_name(called, name).as_numpy() for name in OUTPUTS}
