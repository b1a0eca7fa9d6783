"""Stable Diffusion through the embedded engine: the reference's pictures, side by side, told step by step, left early."""

import asyncio
import contextlib
import os
import re
import shutil
import threading

import numpy as np
import pytest
import pytest_asyncio

from builders.checkpoints.random_diffusion import random_checkpoint
from server.archive.staging import stage_folder
from server.domain.errors import InvalidRequest
from server.engines.completion import complete
from server.engines.embedded.engine import EmbeddedEngine
from tests.differential.engines import resident, running_embedded
from tests.fakes import diffusion
from tests.fakes.diffusion import asked, mask, picture

pytestmark = [pytest.mark.builders, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("generative")]

CLASSES = {
    "ddim": "DDIMScheduler",
    "pndm": "PNDMScheduler",
    "euler": "EulerDiscreteScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine():
    async with running_embedded() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def entry(engine, tmp_path_factory):
    async with resident(engine, diffusion.staged(tmp_path_factory.mktemp("steps"))) as digest:
        yield digest


async def responses(engine, entry, request):
    return [{each.name: each.data for each in answer.outputs} async for answer in engine.stream(entry, request)]


async def images(engine, entry, request):
    (*_, last) = await responses(engine, entry, request)
    return last["IMAGES"]


def reference(kind, scheduler, channels=4, **words):
    """What diffusers' pipeline of that kind paints."""
    import diffusers
    import torch
    from PIL import Image

    checkpoint = random_checkpoint("tiny", 0, channels=channels)
    schedule = {key: value for key, value in checkpoint.schedule.items() if not key.startswith("_")}
    pipeline = getattr(diffusers, kind)(
        **{part: checkpoint.load(part) for part in ("tokenizer", "text_encoder", "unet", "vae")},
        scheduler=getattr(diffusers, CLASSES[scheduler]).from_config(schedule),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    seed = words.pop("seed")
    for name in ("image", "mask_image"):
        if name in words:
            words[name] = Image.fromarray(words[name])
    words["generator"] = torch.Generator("cpu").manual_seed(seed)
    (image,) = pipeline("a photo of a red bicycle", **words).images
    return np.asarray(image).astype(int)


def levels(ours, theirs):
    """The largest difference, in grey levels."""
    assert ours.shape == theirs.shape
    return int(np.abs(ours.astype(int) - theirs).max())


@pytest.mark.parametrize("scheduler", CLASSES)
async def test_text_to_image_is_diffusers(engine, entry, scheduler):
    request = asked(steps=6, seed=11, scheduler=scheduler, guidance=5.0, negative_prompt="blurry", height=96, width=64)
    (ours,) = await images(engine, entry, request)
    theirs = reference(
        "StableDiffusionPipeline",
        scheduler,
        seed=11,
        num_inference_steps=6,
        guidance_scale=5.0,
        negative_prompt="blurry",
        height=96,
        width=64,
    )
    assert levels(ours, theirs) <= 1
    assert theirs.std() > 20  # a picture, not a grey plane, for which everything would agree


@pytest.mark.parametrize("scheduler", CLASSES)
async def test_image_to_image_is_diffusers(engine, entry, scheduler):
    request = asked(steps=6, seed=3, scheduler=scheduler, strength=0.6, image=picture())
    (ours,) = await images(engine, entry, request)
    theirs = reference(
        "StableDiffusionImg2ImgPipeline",
        scheduler,
        seed=3,
        num_inference_steps=6,
        strength=0.6,
        guidance_scale=7.5,
        image=picture(),
    )
    assert levels(ours, theirs) <= 1


@pytest.mark.parametrize("scheduler", CLASSES)
@pytest.mark.parametrize("strength", [1.0, 0.7])
async def test_inpainting_is_diffusers(engine, entry, scheduler, strength):
    request = asked(steps=4, seed=5, scheduler=scheduler, strength=strength, image=picture(), mask=mask())
    (ours,) = await images(engine, entry, request)
    theirs = reference(
        "StableDiffusionInpaintPipeline",
        scheduler,
        channels=9,
        seed=5,
        num_inference_steps=4,
        strength=strength,
        guidance_scale=7.5,
        image=picture(),
        mask_image=mask(),
    )
    assert levels(ours, theirs) <= 1


async def test_a_picture_of_another_size_is_resampled_as_diffusers_does(engine, entry):
    request = asked(steps=2, seed=5, image=picture(50, 91), mask=mask(50, 91), height=64, width=96)
    (ours,) = await images(engine, entry, request)
    theirs = reference(
        "StableDiffusionInpaintPipeline",
        "pndm",
        channels=9,
        seed=5,
        num_inference_steps=2,
        height=64,
        width=96,
        guidance_scale=7.5,
        image=picture(50, 91),
        mask_image=mask(50, 91),
    )
    # Resampling is Pillow's to one level, and so is the latents' mask but at its very edge.
    assert np.mean(np.abs(ours.astype(int) - theirs) > 2) < 0.01


async def test_without_guidance_the_negative_prompt_does_not_matter(engine, entry):
    one, other = [
        await images(engine, entry, asked(seed=1, guidance=1.0, negative_prompt=text)) for text in ("", "blurry")
    ]
    np.testing.assert_array_equal(one, other)
    theirs = reference("StableDiffusionPipeline", "pndm", seed=1, num_inference_steps=2, guidance_scale=1.0)
    assert levels(one[0], theirs) <= 1


async def test_each_image_is_the_only_one_of_its_seed(engine, entry):
    together = await images(engine, entry, asked(seed=40, num_images=3))
    alone = [await images(engine, entry, asked(seed=seed)) for seed in (40, 41, 42)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


async def test_requests_side_by_side_do_not_disturb_each_other(engine, entry):
    wishes = [
        asked("a harbour at sunset", steps=5, seed=1, scheduler="pndm"),
        asked("a bottle of perfume", steps=3, seed=2, scheduler="euler", height=96),
        asked(steps=4, seed=3, scheduler="dpm++", image=picture(), mask=mask()),
        asked(steps=4, seed=3, scheduler="ddim", image=picture(), strength=0.5),
        asked("an old locomotive", steps=2, seed=9, num_images=2),
        asked("a harbour at sunset", steps=5, seed=2, scheduler="pndm"),
    ]
    alone = [await images(engine, entry, wish) for wish in wishes]
    together = await asyncio.gather(*(images(engine, entry, wish) for wish in wishes))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(alone[0], alone[5])


async def test_progress_is_told_step_by_step_and_the_image_last(engine, entry):
    told = await responses(engine, entry, asked(steps=5, scheduler="ddim", seed=1, progress_every=2, preview_every=4))
    assert [answer["PROGRESS"].tolist() for answer in told[:-1]] == [[2, 5], [4, 5], [5, 5]]
    assert ["PREVIEW" in answer for answer in told] == [False, True, True, False]
    assert told[1]["PREVIEW"].shape == (8, 8, 3)
    assert told[-1]["IMAGES"].shape == (1, 64, 64, 3)
    assert told[-1]["SEEDS"].tolist() == [1]


async def test_a_seed_that_is_not_given_is_told(engine, entry):
    (first,) = await responses(engine, entry, asked())
    (again,) = await responses(engine, entry, asked(seed=int(first["SEEDS"][0])))
    np.testing.assert_array_equal(first["IMAGES"], again["IMAGES"])


async def test_with_a_cache_each_text_is_encoded_once(tmp_path, entry, engine):
    remembering = EmbeddedEngine(response_cache_bytes=1 << 20)
    await remembering.start(lambda _digests: None)
    wish = asked(seed=1, negative_prompt="blurry")
    try:
        async with resident(remembering, diffusion.staged(tmp_path / "steps")) as digest:
            painted = [await images(remembering, digest, wish) for _ in range(2)]
            facts = remembering.describe()["response_cache"]
    finally:
        await remembering.stop()
    assert (facts["misses"], facts["hits"]) == (2, 2)  # the prompt and its opposite
    for each in painted:
        np.testing.assert_array_equal(each, await images(engine, entry, wish))


GATED_UNET = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.gate = "GATE"

    def execute(self, requests):
        with open(self.gate + ".runs", "a") as runs:
            runs.write("x")
        with open(self.gate) as gate:
            gate.read()
        latents = pb_utils.get_input_tensor_by_name(requests[0], "latents").as_numpy()
        return [pb_utils.InferenceResponse([pb_utils.Tensor("noise", np.zeros_like(latents))])]
"""


@pytest.fixture
def gated(tmp_path):
    """The archive with a UNet that waits at a pipe, for each of its runs, until somebody opens the other end."""
    root = tmp_path / "gated"
    shutil.copytree(diffusion.built(), root)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    config = (root / "unet" / "config.pbtxt").read_text().replace('"onnxruntime"', '"python"')
    in_process = 'parameters { key: "EXECUTION" value { string_value: "in-process" } }'
    (root / "unet" / "config.pbtxt").write_text(
        re.sub(r"optimization \{.*?\n\}\n", "", config, flags=re.DOTALL) + in_process
    )
    (root / "unet" / "1" / "model.onnx").unlink()
    (root / "unet" / "1" / "model.py").write_text(GATED_UNET.replace("GATE", str(gate)))
    return stage_folder(root, "gated", "1", tmp_path / "steps", complete, link=False), gate


def let_through(gate):
    """Let one run of the UNet pass; waits until it is at the gate."""
    gate.open("w").close()


def let_through_if_waiting(gate):
    """Let a run pass if one is at the gate; never waits."""
    with contextlib.suppress(OSError):  # nobody is there
        os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))


@pytest.mark.parametrize("words", [{"progress_every": 1}, {}], ids=["that tells", "that is silent"])
async def test_leaving_a_stream_ends_the_work_after_the_step(gated, words):
    archive, gate = gated
    async with running_embedded() as engine, resident(engine, archive) as digest:
        stream = engine.stream(digest, asked(steps=60, **words))
        waiting = asyncio.create_task(anext(stream))
        await asyncio.to_thread(let_through, gate)
        if words:
            assert (await waiting).outputs[0].data.tolist() == [1, 61]
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await stream.aclose()
        while engine.describe()["running"]:
            let_through_if_waiting(gate)
            await asyncio.sleep(0)
        assert len(gate.with_name("gate.runs").read_text()) <= 2  # the one that was let through, the one under way
        assert not [each for each in threading.enumerate() if each.name == "step stable-diffusion"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"steps": -1}, "STEPS must be from 1 to 60, got -1"),
        ({"steps": 0}, "STEPS must be from 1 to 60"),
        ({"steps": 61}, "STEPS must be from 1 to 60, got 61"),
        ({"guidance": float("nan")}, "GUIDANCE must be a number from 0 to 100, got nan"),
        ({"guidance": -1.0}, "GUIDANCE must be"),
        ({"scheduler": "heun"}, "scheduler 'heun' is not known"),
        ({"height": 4096, "width": 4096}, "16777216 pixels, more than this model paints"),
        ({"height": 100}, "HEIGHT must be a positive multiple of 16, got 100; 96 is near"),
        ({"width": -64}, "WIDTH must be a positive multiple of 16"),
        ({"num_images": 4}, "NUM_IMAGES must be from 1 to 3"),
        ({"mask": mask()}, "MASK needs an IMAGE"),
        ({"image": picture(64, 80), "mask": mask()}, r"MASK must have the size of IMAGE, \[64, 80\], got \[64, 64\]"),
        ({"image": picture()[:0]}, "IMAGE must have shape"),
        ({"image": picture(), "strength": 1.5}, "STRENGTH must be a number from 0 to 1"),
        ({"image": picture(), "strength": 0.1, "steps": 3}, "leaves no step to do"),
    ],
)
async def test_a_wish_that_cannot_be_is_refused_with_its_reason(engine, entry, words, message):
    with pytest.raises(InvalidRequest, match=message):
        await images(engine, entry, asked(**words))


@pytest.mark.parametrize("prompt", ["", "word " * 10_000, "\U0001f525 火", "<|endoftext|>"])
async def test_any_prompt_is_painted_or_refused(engine, entry, prompt):
    if len(prompt) > 20_000:
        with pytest.raises(InvalidRequest, match="50000 characters"):
            await images(engine, entry, asked(prompt))
    else:
        assert (await images(engine, entry, asked(prompt))).shape == (1, 64, 64, 3)


async def test_a_large_picture_is_painted_as_large_as_may_be(engine, entry):
    (painted,) = await images(engine, entry, asked(image=picture(600, 900), strength=0.5))
    assert painted.shape == (208, 304, 3)
