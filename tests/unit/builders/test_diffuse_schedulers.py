"""The numpy samplers and the noise, step by step against diffusers and torch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.python_steps.diffuse.noise import TorchNoise
from builders.python_steps.diffuse.noise_schedule import noise_schedule
from builders.python_steps.diffuse.schedulers import SCHEDULERS, scheduler_name

pytestmark = pytest.mark.builders

STABLE_DIFFUSION = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "clip_sample": False,
}
CLASSES = {
    "ddim": "DDIMScheduler",
    "pndm": "PNDMScheduler",
    "euler": "EulerDiscreteScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
}
SHAPE = (2, 4, 8, 8)


def reference(name, config):
    diffusers = pytest.importorskip("diffusers")
    return getattr(diffusers, CLASSES[name]).from_config(config)


@pytest.mark.parametrize("name", CLASSES)
@given(
    steps=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
    spacing=st.sampled_from([None, "leading", "linspace", "trailing"]),
    prediction=st.sampled_from(["epsilon", "v_prediction"]),
    ends_at_one=st.booleans(),
    strength=st.sampled_from([1.0, 0.75, 0.3]),
)
@settings(max_examples=12, deadline=None)
def test_every_step_equals_the_reference(name, steps, seed, spacing, prediction, ends_at_one, strength):
    import torch

    config = {**STABLE_DIFFUSION, "prediction_type": prediction, "set_alpha_to_one": ends_at_one}
    config |= {"timestep_spacing": spacing} if spacing else {}
    theirs = reference(name, config)
    theirs.set_timesteps(steps)
    ours = SCHEDULERS[name](noise_schedule(config), steps)
    np.testing.assert_array_equal(ours.timesteps, theirs.timesteps.numpy().astype(np.float32))
    assert ours.initial_scale == pytest.approx(float(theirs.init_noise_sigma), rel=1e-6)

    start = max(steps - min(int(steps * strength), steps), 0)
    if hasattr(theirs, "set_begin_index"):
        theirs.set_begin_index(start)
    random = np.random.default_rng(seed)
    clean, noise = (random.standard_normal(SHAPE, dtype=np.float32) for _ in range(2))
    if start >= len(ours.timesteps):
        return
    sample = ours.noisy(clean, noise, start)
    expected = theirs.add_noise(torch.from_numpy(clean), torch.from_numpy(noise), theirs.timesteps[start : start + 1])
    np.testing.assert_allclose(sample, expected.numpy(), rtol=1e-5, atol=1e-5)
    for index in range(start, len(ours.timesteps)):
        timestep = theirs.timesteps[index]
        seen = theirs.scale_model_input(expected, timestep)
        np.testing.assert_allclose(ours.scaled(sample, index), seen.numpy(), rtol=1e-4, atol=1e-4)
        output = random.standard_normal(SHAPE, dtype=np.float32)
        sample = ours.step(output, index, sample)
        expected = theirs.step(torch.from_numpy(output), timestep, expected, return_dict=False)[0]
        scale = max(1.0, float(np.abs(expected.numpy()).max()))
        np.testing.assert_allclose(sample / scale, expected.numpy() / scale, rtol=1e-4, atol=2e-5)
    assert sample.dtype == np.float32


@pytest.mark.parametrize("kind", ["linear", "scaled_linear"])
def test_the_noise_schedule_is_torchs(kind):
    theirs = reference("ddim", {**STABLE_DIFFUSION, "beta_schedule": kind})
    ours = noise_schedule({**STABLE_DIFFUSION, "beta_schedule": kind})
    np.testing.assert_allclose(ours.alphas_cumprod, theirs.alphas_cumprod.numpy(), rtol=3e-7)


@given(
    seed=st.integers(-(2**63), 2**63 - 1), shape=st.sampled_from([(16,), (17,), (1, 4, 8, 8), (3, 5, 7), (1, 4, 9, 13)])
)
@settings(max_examples=30, deadline=None)
def test_noise_is_torchs_also_in_the_second_draw(seed, shape):
    import torch

    theirs, ours = torch.Generator("cpu").manual_seed(seed), TorchNoise(seed)
    for _ in range(3):
        np.testing.assert_allclose(ours.normal(shape), torch.randn(shape, generator=theirs).numpy(), atol=2e-6)


def test_too_little_noise_is_refused():
    with pytest.raises(ValueError, match="fewer than 16"):
        TorchNoise(0).normal((3, 5))


@pytest.mark.parametrize(
    ("written", "name"), [("DDIM", "ddim"), (" euler ", "euler"), ("DPMSolverMultistepScheduler", "dpm++")]
)
def test_schedulers_have_several_names(written, name):
    assert scheduler_name(written) == name


def test_an_unknown_scheduler_is_told_which_there_are():
    with pytest.raises(ValueError, match=r"'heun' is not known; choose one of ddim, pndm, euler, dpm\+\+"):
        scheduler_name("heun")


@pytest.mark.parametrize(
    ("key", "value"), [("beta_schedule", "cosine"), ("prediction_type", "sample"), ("timestep_spacing", "random")]
)
def test_a_configuration_that_is_not_known_is_named(key, value):
    with pytest.raises(ValueError, match=f"{key} '{value}'"):
        noise_schedule({**STABLE_DIFFUSION, key: value})
