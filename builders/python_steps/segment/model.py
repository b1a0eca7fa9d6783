"""Triton's shell around `prompts.py` and `upscale.py`: IMAGE and prompts to masks, by calling `embed` and `decoder`.

`embed` is asked with nothing but the image's bytes, so that a response cache answers for every further prompt on it.
"""

import re

import numpy as np
import prompts
import triton_python_backend_utils as pb_utils
import upscale

# Triton's BLS tells every error of a called step as INTERNAL (seen in 2.51); these words are about the picture.
_PICTURE = re.compile(r"does not decode|decoders|image file|pixels")


class StepFailed(Exception):
    """A called step failed; carries its error."""

    def __init__(self, error):
        super().__init__(error.message())
        self.error = error


class TritonPythonModel:
    """Created once per instance by Triton's Python backend, or by Roundhouse's embedded engine."""

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        """One request, by itself."""
        image = _input(request, "IMAGE")
        given = [_input(request, name) for name in ("POINTS", "POINT_LABELS", "BOX", "MASK_INPUT")]
        prompt = prompts.Prompt(*given)
        multimask = _input(request, "MULTIMASK")
        try:
            prompts.check(prompt)
            embedding, size = _run("embed", {"IMAGE": image[None]}, ["image_embeddings", "original_size"])
            height, width = map(int, size.as_numpy()[0])
            question = prompts.question(prompt, height, width)
            asked = {
                "point_coords": question.points,
                "point_labels": question.labels,
                "mask_input": question.mask,
                "has_mask_input": question.has_mask,
            }
            low_res, iou = _run("decoder", asked, ["low_res_masks", "iou_predictions"], [embedding])
        except StepFailed as failed:
            return pb_utils.InferenceResponse(error=_with_code(failed.error))
        except ValueError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        # The decoder's first mask is for prompts that leave no doubt, the others (whole, part, subpart) for a click.
        chosen = slice(1, 4) if multimask is None or multimask[0] else slice(0, 1)
        kept = np.ascontiguousarray(low_res.as_numpy()[0, chosen])
        masks = upscale.masks(kept, prompts.encoder_size(height, width), (height, width))
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("MASKS", masks),
                pb_utils.Tensor("IOU", np.ascontiguousarray(iou.as_numpy()[0, chosen])),
                pb_utils.Tensor("LOW_RES", kept),
            ]
        )


def _with_code(error):
    if _PICTURE.search(error.message()):
        return pb_utils.TritonError(error.message(), pb_utils.TritonError.INVALID_ARG)
    return error


def _input(request, name):
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def _run(model, arrays, outputs, tensors=()):
    """Run another step; returns the outputs' tensors in order. Raises StepFailed."""
    inputs = [*tensors, *(pb_utils.Tensor(name, np.ascontiguousarray(array)) for name, array in arrays.items())]
    request = pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=outputs,
        inputs=inputs,
        # Of a step on a GPU as well: numpy goes on from here, and Triton's cache keeps what lies in host memory.
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU),
    )
    response = request.exec()
    if response.has_error():
        raise StepFailed(response.error())
    return [pb_utils.get_output_tensor_by_name(response, name) for name in outputs]
