"""Proof that an archive paints what diffusers paints: part by part, and for small models picture by picture."""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from builders.checkpoints.diffusers_folder import DiffusionCheckpoint
from builders.pipeline.extras import need
from builders.pipeline.parity import ParityFailed
from builders.python_steps.diffuse import logic
from builders.python_steps.diffuse.kits import Kit, Kits, read_kits
from builders.python_steps.diffuse.schedulers import SCHEDULERS
from builders.python_steps.diffuse.wishes import Wish
from builders.python_steps.tokenize import logic as tokenize_logic

Array = npt.NDArray[Any]

MAX_ERROR: Final = {"fp32": 1e-4, "fp16": 2e-2}
"""Of a part's largest output."""
MAX_LEVELS: Final = 1
"""Of 255, in a finished picture."""

_STEPS: Final = 4
_GUIDANCE: Final = 7.5
_SEED: Final = 20
_PROMPT: Final = "a photo of a red bicycle"
_AVOIDED: Final = "blurry, low quality"
_CLASSES: Final = {
    "ddim": "DDIMScheduler",
    "pndm": "PNDMScheduler",
    "euler": "EulerDiscreteScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
}


def compare_part(part: str, graph: Path, inputs: Mapping[str, Array], expected: Array, precision: str) -> float:
    """Run a graph on the inputs that gave `expected`; returns the largest error, as a share of the largest output.

    Raises:
        ParityFailed: it is more than the precision allows.
    """
    session = _session(graph)
    (got,) = session.run(None, dict(inputs))
    error = float(np.abs(got - expected).max() / np.abs(expected).max())
    if not error <= MAX_ERROR[precision]:
        raise ParityFailed(f"{part} differs from diffusers by {error:.2e}; at most {MAX_ERROR[precision]} is allowed")
    return error


def compare_pictures(root: Path, entry: str, checkpoints: Mapping[str, DiffusionCheckpoint]) -> dict[str, Any]:
    """Paint with every scheduler, by the archive's steps and by diffusers' pipelines; returns the largest differences.

    Raises:
        ParityFailed: a picture differs by more than one grey level.
    """
    kits = read_kits((root / entry / "1" / "diffuse.json").read_text())
    levels: dict[str, int] = {}
    for use, checkpoint in checkpoints.items():
        kit = kits.paint if use == "paint" else kits.inpaint
        assert kit is not None, "a kit for each checkpoint. This is a bug."
        models = GraphModels(root, kit)
        with _quiet(), _pipeline(checkpoint, use) as paint:
            for name in SCHEDULERS:
                wish = _wish(use, name, kits, kit)
                ours = painted(wish, kit, models)[0].astype(int)
                levels[f"{use} {name}"] = int(np.abs(ours - paint(wish)).max())
    worst = max(levels.values())
    if worst > MAX_LEVELS:
        raise ParityFailed(f"pictures differ from diffusers' by up to {worst} of 255 levels: {levels}")
    return {
        "reference": f"diffusers {version('diffusers')}",
        "steps": _STEPS,
        "max_levels_of_255": levels,
    }


def painted(wish: Wish, kit: Kit, models: logic.Models) -> npt.NDArray[np.uint8]:
    """Run the loop to its pictures: UINT8 [n, height, width, 3]."""
    *_, last = logic.paint(wish, kit, models)
    assert isinstance(last, logic.Painting), "the loop ends with its painting. This is a bug."
    return last.images


class GraphModels:
    """`logic.Models` by ONNX Runtime, from an archive's folder."""

    def __init__(self, root: Path, kit: Kit) -> None:
        self._tokenizer = tokenize_logic.load(root / kit.tokenizer / "1")
        names = {"embed": kit.text_encoder, "predict": kit.unet, "encode": kit.vae_encoder, "decode": kit.vae_decoder}
        self._sessions = {use: _session(root / name / "1" / "model.onnx") for use, name in names.items()}

    def embed(self, text: str) -> logic.Floats:
        """See `logic.Models`."""
        return self._run("embed", input_ids=tokenize_logic.tokenize(self._tokenizer, [text])[0])

    def predict(self, latents: logic.Floats, timestep: float, embeddings: logic.Floats) -> logic.Floats:
        """See `logic.Models`."""
        timesteps = np.full((len(latents), 1), timestep, np.float32)
        return self._run("predict", latents=latents, timestep=timesteps, embeddings=embeddings)

    def encode(self, image: logic.Floats) -> logic.Floats:
        """See `logic.Models`."""
        return self._run("encode", image=image)

    def decode(self, latents: logic.Floats) -> logic.Floats:
        """See `logic.Models`."""
        return self._run("decode", latents=latents)

    def _run(self, use: str, **feed: Array) -> logic.Floats:
        (result,) = self._sessions[use].run(None, feed)
        floats: logic.Floats = result
        return floats


def _session(graph: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def _wish(use: str, scheduler: str, kits: Kits, kit: Kit) -> Wish:
    side = kits.limits.side
    image = mask = None
    if use == "inpaint":
        ramp = np.linspace(0, 255, side, dtype=np.uint8)
        image = np.stack(
            [np.tile(ramp, (side, 1)), np.tile(ramp[:, None], (1, side)), np.tile(ramp[::-1], (side, 1))], 2
        )
        mask = np.zeros((side, side), np.bool_)
        mask[side // 4 : side // 2 + kit.shrink // 2, side // 3 :] = True
    return Wish(
        prompt=_PROMPT,
        negative_prompt=_AVOIDED,
        steps=_STEPS,
        guidance=_GUIDANCE,
        seeds=(_SEED,),
        height=side,
        width=side,
        scheduler=scheduler,
        strength=1.0,
        image=image,
        mask=mask,
        progress_every=0,
        preview_every=0,
    )


@contextmanager
def _pipeline(checkpoint: DiffusionCheckpoint, use: str) -> Iterator[Callable[[Wish], Array]]:
    """Diffusers' own pipeline of a checkpoint: gives INT [height, width, 3] for a wish."""
    diffusers, torch = need("diffusers"), need("torch")
    kind = diffusers.StableDiffusionPipeline if use == "paint" else diffusers.StableDiffusionInpaintPipeline
    parts = {part: checkpoint.load(part) for part in ("tokenizer", "text_encoder", "unet", "vae")}
    schedule = {key: value for key, value in checkpoint.schedule.items() if not key.startswith("_")}
    schedule |= {"skip_prk_steps": True, "steps_offset": 1, "clip_sample": False}

    def paint(wish: Wish) -> Array:
        pipeline = kind(
            **parts,
            scheduler=getattr(diffusers, _CLASSES[wish.scheduler]).from_config(schedule),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        pictures = {"image": _picture(wish.image), "mask_image": _picture(wish.mask)} if use == "inpaint" else {}
        (image,) = pipeline(
            wish.prompt,
            negative_prompt=wish.negative_prompt,
            num_inference_steps=wish.steps,
            guidance_scale=wish.guidance,
            height=wish.height,
            width=wish.width,
            generator=torch.Generator("cpu").manual_seed(wish.seeds[0]),
            **pictures,
        ).images
        return np.asarray(image).astype(int)

    yield paint
    parts.clear()
    gc.collect()


def _picture(array: Array | None) -> Any:
    image = need("PIL.Image")
    assert array is not None, "inpainting has a picture and a mask. This is a bug."
    return image.fromarray(array.astype(np.uint8) * np.uint8(255) if array.dtype == np.bool_ else array)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without diffusers' remarks about schedulers that a checkpoint was not published with."""
    logging = need("diffusers").utils.logging
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
