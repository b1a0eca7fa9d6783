"""Triton's shell around `logic.py`: an advertisement from a product's picture, by calling other entry models (BLS).

Inputs: IMAGE UINT8 [h, w, 3]; PROMPT_FR, PROMPT_BG BYTES [1]; optional NEGATIVE_PROMPT, SCHEDULER BYTES [1], MASK UINT8
[h, w] (the product is white), STEPS INT32 [1], SEED INT64 [1], GUIDANCE FP32 [1].
Outputs, all of the picture's size: GENERATED, BACKGROUND, POSTPROCESSED UINT8 [h, w, 3], PRODUCT_MASK UINT8 [h, w].

    background   painted from PROMPT_BG alone
    mask         as given, else what the segmenter finds in the middle of the picture
    generated    the product on the background; what surrounds it painted anew with PROMPT_BG, so that light and shadow
                 fit, and then the product itself with PROMPT_FR
    post-processed   the product's own pixels laid over that, at full resolution with a soft edge
"""

import json

import logic
import numpy as np
import triton_python_backend_utils as pb_utils

PASSED_ON = ("STEPS", "SEED", "GUIDANCE", "SCHEDULER")
BACKGROUND_STRENGTH = 0.8  # keeps the composition of the background that was painted first
FOREGROUND_STRENGTH = 0.4  # keeps the product's form


class StepFailed(Exception):
    """A called model failed."""

    @property
    def error(self):
        """The error to answer with. Triton tells INTERNAL of every callee; its words say whose fault it was."""
        is_callers = "Invalid argument" in str(self)
        code = pb_utils.TritonError.INVALID_ARG if is_callers else pb_utils.TritonError.INTERNAL
        return pb_utils.TritonError(str(self), code)


class TritonPythonModel:
    """Created once per instance by Triton's Python backend, or by Roundhouse's embedded engine."""

    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.segmenter = parameters["SEGMENTER"]["string_value"]
        self.painter = parameters["PAINTER"]["string_value"]
        self.multiple = int(parameters["MULTIPLE"]["string_value"])
        self.longest = int(parameters["LONGEST"]["string_value"])

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        """One request, by itself."""
        given = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        try:
            pictures = self.advertise(given)
        except StepFailed as failed:
            return pb_utils.InferenceResponse(error=failed.error)
        except ValueError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in pictures.items()])

    def advertise(self, given):
        """The four pictures by the names of their outputs."""
        image = given["IMAGE"]
        logic.check(image, given.get("MASK"))
        height, width = image.shape[:2]
        mask = logic.binary(given["MASK"]) if "MASK" in given else self.segment(image)
        if not mask.any():
            raise ValueError("no product was found in the middle of the picture: send MASK, white where the product is")
        size = logic.working_size(height, width, self.multiple, self.longest)
        wish = {name: given[name] for name in PASSED_ON if name in given}
        behind = {**wish, "PROMPT": given["PROMPT_BG"]}
        before = {**wish, "PROMPT": given["PROMPT_FR"]}
        if "NEGATIVE_PROMPT" in given:
            behind["NEGATIVE_PROMPT"] = before["NEGATIVE_PROMPT"] = given["NEGATIVE_PROMPT"]
        background = self.paint({**behind, **sides(size)})
        product, cut = logic.resize(image, *size), logic.resize_mask(mask, *size)
        placed = logic.over(product, background, logic.softened(cut, logic.edge_radius(*size)))
        generated = self.inpaint(behind, placed, logic.inverted(cut), BACKGROUND_STRENGTH)
        generated = self.inpaint(before, generated, cut, FOREGROUND_STRENGTH)
        full = logic.resize(generated, height, width)
        soft = logic.softened(mask, logic.edge_radius(height, width))
        return {
            "GENERATED": full,
            "BACKGROUND": logic.resize(background, height, width),
            "PRODUCT_MASK": mask,
            "POSTPROCESSED": logic.over(image, full, soft),
        }

    def segment(self, image):
        """The mask of what is in the middle, the one that its model trusts most: UINT8 [h, w], 0 and 255."""
        masks, trust = call(self.segmenter, {"IMAGE": logic.pnm(image)}, ["MASKS", "IOU"])
        return logic.binary(masks[int(trust.argmax())])

    def inpaint(self, wish, image, mask, strength):
        """Paint anew where `mask` is white; where it is white nowhere there is nothing to do."""
        if not mask.any():
            return image
        strength = logic.at_least_a_step(strength, wish.get("STEPS"))
        return self.paint(
            {**wish, "IMAGE": image, "MASK": mask, "STRENGTH": np.array([strength], np.float32), **sides(mask.shape)}
        )

    def paint(self, wish):
        """One picture, UINT8 [h, w, 3]."""
        (images,) = call(self.painter, wish, ["IMAGES"])
        return images[0]


def sides(size):
    """The painter's HEIGHT and WIDTH."""
    return {name: np.array([side], np.int32) for name, side in zip(("HEIGHT", "WIDTH"), size, strict=True)}


def call(model, arrays, outputs):
    """Run another entry model; the arrays of its last answer, in order. Raises StepFailed."""
    inputs = [pb_utils.Tensor(name, np.ascontiguousarray(array)) for name, array in arrays.items()]
    request = pb_utils.InferenceRequest(model_name=model, requested_output_names=outputs, inputs=inputs)
    found = None
    for response in request.exec(decoupled=True):  # the painter is decoupled: it may tell of its progress first
        if response.has_error():
            raise StepFailed(f"{model}: {response.error().message()}")
        if response.output_tensors():
            found = response
    if found is None:
        raise StepFailed(f"{model} gave no answer")
    return [pb_utils.get_output_tensor_by_name(found, name).as_numpy() for name in outputs]
