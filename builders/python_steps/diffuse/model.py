"""Triton's shell around `logic.py`: a decoupled entry step that paints images by calling the other steps (BLS).

Inputs, all but PROMPT optional (see `wishes.py`): PROMPT, NEGATIVE_PROMPT, SCHEDULER BYTES [1]; STEPS, HEIGHT, WIDTH,
NUM_IMAGES, PROGRESS_EVERY, PREVIEW_EVERY INT32 [1]; SEED INT64 [1]; GUIDANCE, STRENGTH FP32 [1];
IMAGE UINT8 [h, w, 3], MASK UINT8 [h, w].
Answers: where PROGRESS_EVERY asks for it, PROGRESS INT32 [2] (step, of how many) with perhaps PREVIEW UINT8 [h, w, 3];
at last IMAGES UINT8 [n, height, width, 3] and SEEDS INT64 [n].
"""

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from . import kits, logic, pictures, wishes


class CalleeFailed(Exception):
    """A step that was called answered with an error."""


class TritonPythonModel:
    """Created once per instance by Triton's Python backend, or by Roundhouse's embedded engine."""

    def initialize(self, args):
        file = Path(args["model_repository"]) / args["model_version"] / "diffuse.json"
        self.kits = kits.read_kits(file.read_text("utf-8"))

    def execute(self, requests):
        for request in requests:
            self.answer(request, request.get_response_sender())

    def answer(self, request, sender):
        """Paint for one request; what goes wrong is its last response."""
        try:
            wish = wishes.read({each.name(): each.as_numpy() for each in request.inputs()}, self.kits.limits)
            kit = self.kits.for_mask(has_mask=wish.mask is not None)
            painting = self.paint(wish, kit, sender)
        except ValueError as error:
            # In words as well: Triton's streams lose the code.
            return fail(sender, f"Invalid argument: {error}", pb_utils.TritonError.INVALID_ARG)
        except CalleeFailed as error:
            return fail(sender, str(error), pb_utils.TritonError.INTERNAL)
        if painting is None:  # nobody listens any more
            return sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        seeds = np.array([fold(seed) for seed in wish.seeds], dtype=np.int64)
        outputs = [pb_utils.Tensor("IMAGES", painting.images), pb_utils.Tensor("SEEDS", seeds)]
        return sender.send(pb_utils.InferenceResponse(outputs), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def paint(self, wish, kit, sender):
        """Run the loop, tell of it where it is asked for; None if it was cancelled."""
        for event in logic.paint(wish, kit, Calls(kit)):
            if isinstance(event, logic.Painting):
                return event
            if sender.is_cancelled():
                return None
            if wish.progress_every and (event.step % wish.progress_every == 0 or event.step == event.total):
                sender.send(pb_utils.InferenceResponse(told(event, wish)))
        return None


class Calls:
    """`logic.Models` by calls of the archive's other steps."""

    def __init__(self, kit):
        self.kit = kit

    def embed(self, text):
        cell = np.array([[text.encode()]], dtype=np.object_)
        ids = call(self.kit.tokenizer, "input_ids", INPUT0=cell)
        return call(self.kit.text_encoder, "embeddings", input_ids=ids)

    def predict(self, latents, timestep, embeddings):
        timesteps = np.full((len(latents), 1), timestep, dtype=np.float32)
        return call(self.kit.unet, "noise", latents=latents, timestep=timesteps, embeddings=embeddings)

    def encode(self, image):
        return call(self.kit.vae_encoder, "moments", image=image)

    def decode(self, latents):
        return call(self.kit.vae_decoder, "image", latents=latents)


def call(model, output, **inputs):
    """Run a step; give its output as an array."""
    tensors = [pb_utils.Tensor(name, np.ascontiguousarray(array)) for name, array in inputs.items()]
    in_host_memory = pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU)
    request = pb_utils.InferenceRequest(
        model_name=model, requested_output_names=[output], inputs=tensors, preferred_memory=in_host_memory
    )
    response = request.exec()
    if response.has_error():
        raise CalleeFailed(f"{model}: {response.error().message()}")
    return pb_utils.get_output_tensor_by_name(response, output).as_numpy()


def told(event, wish):
    """The tensors of a progress response."""
    outputs = [pb_utils.Tensor("PROGRESS", np.array([event.step, event.total], dtype=np.int32))]
    if wish.preview_every and (event.step % wish.preview_every == 0 or event.step == event.total):
        outputs.append(pb_utils.Tensor("PREVIEW", pictures.preview(event.latents)))
    return outputs


def fold(seed):
    """A seed as INT64 holds it."""
    return (seed + 2**63) % 2**64 - 2**63


def fail(sender, message, code):
    """End a request with an error."""
    error = pb_utils.TritonError(message, code)
    response = pb_utils.InferenceResponse(output_tensors=[], error=error)
    sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
