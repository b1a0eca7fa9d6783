"""The pure halves of the diffusion step that need no reference: wishes, pictures, and the loop around fake models."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from builders.python_steps.diffuse import kits, logic, pictures, wishes
from builders.python_steps.diffuse.noise_schedule import noise_schedule

LIMITS = wishes.Limits(
    max_steps=50, max_images=4, max_pixels=512 * 512, max_side=1024, multiple=64, side=512, scheduler="pndm"
)
KIT = kits.Kit(
    tokenizer="t",
    text_encoder="e",
    unet="u",
    vae_encoder="v",
    vae_decoder="d",
    channels=4,
    latent_channels=4,
    latent_scale=0.5,
    shrink=8,
    schedule=noise_schedule({}),
)


class Models:
    """Answers with what is easy to follow, and counts."""

    def __init__(self):
        self.asked = []

    def embed(self, text):
        self.asked.append(text)
        return np.full((1, 77, 2), len(text), np.float32)

    def predict(self, latents, timestep, embeddings):
        assert len(latents) == len(embeddings)
        return latents * np.float32(0.1) + embeddings[:, :1, :1, None] * np.float32(0.01)

    def encode(self, image):
        small = image[:, :1, ::8, ::8]
        return np.concatenate([np.repeat(small, 4, 1), np.full_like(small, -40).repeat(4, 1)], axis=1)

    def decode(self, latents):
        return np.repeat(np.repeat(latents[:, :3], 8, 2), 8, 3)


def text(value):
    return np.array([value.encode()], dtype=np.object_)


def wish(**inputs):
    arrays = {
        name.upper(): value if isinstance(value, np.ndarray) else np.array([value]) for name, value in inputs.items()
    }
    return wishes.read({"PROMPT": text("a cat"), **arrays}, LIMITS, lambda: 99)


def test_what_is_not_said_has_a_default():
    read = wish()
    assert (read.steps, read.guidance, read.seeds, read.height, read.width) == (50, 7.5, (99,), 512, 512)
    assert (read.scheduler, read.strength, read.image, read.mask, read.progress_every) == ("pndm", 0.8, None, None, 0)
    assert wish(image=np.zeros((130, 200, 3), np.uint8), mask=np.zeros((130, 200), np.uint8)).strength == 1.0


@pytest.mark.parametrize(
    ("size", "painted"),
    [((512, 512), (512, 512)), ((130, 200), (128, 192)), ((40, 70), (64, 64)), ((2000, 1000), (704, 320))],
)
def test_a_picture_is_painted_near_to_its_size(size, painted):
    read = wish(image=np.zeros((*size, 3), np.uint8))
    assert (read.height, read.width) == painted


@pytest.mark.parametrize("levels", [(0, 1), (0, 255), (100, 200)])
def test_masks_of_levels_and_of_ones_are_read(levels):
    mask = np.array([[levels[0], levels[1]]], np.uint8)
    assert wish(image=np.zeros((1, 2, 3), np.uint8), mask=mask).mask.tolist() == [[False, True]]


def test_an_empty_mask_paints_nothing():
    assert not wish(image=np.zeros((1, 2, 3), np.uint8), mask=np.zeros((1, 2), np.uint8)).mask.any()


def test_a_picture_that_is_too_large_is_refused():
    with pytest.raises(ValueError, match="IMAGE is 5000x5000; at most 16777216 pixels are read"):
        wish(image=np.broadcast_to(np.zeros((), np.uint8), (5000, 5000, 3)))


def test_a_side_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="64x1088: this model paints sides up to 1024"):
        wish(height=64, width=1088)
    read = wish(image=np.zeros((100, 2000, 3), np.uint8))
    assert (read.height, read.width) == (64, 1024)


def test_text_that_is_not_utf8_is_refused():
    with pytest.raises(ValueError, match="NEGATIVE_PROMPT is not UTF-8: invalid start byte at byte 1"):
        wish(negative_prompt=np.array([b"a\xff"], dtype=np.object_))


def test_a_tensor_of_several_elements_is_no_scalar():
    with pytest.raises(ValueError, match="STEPS must have one element, got 2"):
        wish(steps=np.array([1, 2]))


@given(
    st.dictionaries(
        st.sampled_from(["steps", "height", "width", "num_images", "seed"]), st.integers(-(2**31), 2**31 - 1)
    ),
    st.dictionaries(st.sampled_from(["guidance", "strength"]), st.floats(width=32)),
)
def test_any_numbers_are_a_wish_within_the_limits_or_refused(whole, real):
    try:
        read = wish(**whole, **real)
    except ValueError:
        return
    assert 1 <= read.steps <= 50
    assert read.height % 64 == read.width % 64 == 0 < read.height * read.width <= LIMITS.max_pixels
    assert 1 <= len(read.seeds) <= 4
    assert np.isfinite(read.guidance)
    assert 0 <= read.strength <= 1


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.integers(0, 9))
@settings(deadline=None)
def test_pictures_are_resampled_as_by_pillow(height, width, to_height, to_width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    wide = Image.fromarray(image).resize((to_width, height), Image.Resampling.LANCZOS)
    expected = np.asarray(wide.resize((to_width, to_height), Image.Resampling.LANCZOS))
    assert np.abs(pictures.resized(image, to_height, to_width).astype(int) - expected).max() <= 2


def test_pixels_go_to_the_model_and_back():
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    np.testing.assert_array_equal(pictures.from_model(pictures.to_model(image, 16, 16)), image)


@pytest.mark.parametrize("channels", [4, 8])
def test_a_preview_has_a_pixel_for_each_latent(channels):
    rough = pictures.preview(np.zeros((channels, 5, 7), np.float32))
    assert (rough.shape, rough.dtype) == ((5, 7, 3), np.uint8)


def painted(read, models=None, kit=KIT):
    *steps, last = logic.paint(read, kit, models or Models())
    return steps, last.images


@pytest.mark.parametrize("scheduler", ["ddim", "pndm", "euler", "dpm++"])
def test_images_do_not_depend_on_their_neighbours(scheduler):
    named = {"scheduler": text(scheduler), "steps": 5, "height": 64, "width": 128}
    _, together = painted(wish(seed=7, num_images=3, **named))
    for place, seed in enumerate((7, 8, 9)):
        _, (alone,) = painted(wish(seed=seed, **named))
        np.testing.assert_array_equal(together[place], alone)


def test_progress_counts_the_models_runs_to_the_last():
    steps, images = painted(wish(steps=4, height=64, width=64))
    assert [(step.step, step.total) for step in steps] == [(number, 5) for number in range(1, 6)]  # PNDM: n + 1
    assert images.shape == (1, 64, 64, 3)


def test_the_prompt_is_asked_for_once_and_its_opposite_only_with_guidance():
    models = Models()
    painted(wish(steps=1, height=64, width=64, negative_prompt=text("dog")), models)
    assert models.asked == ["a cat", "dog"]
    models = Models()
    painted(wish(steps=1, height=64, width=64, guidance=1.0), models)
    assert models.asked == ["a cat"]


def test_outside_of_the_mask_a_plain_unet_keeps_the_picture():
    picture = np.full((64, 64, 3), 200, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    kit = kits.Kit(**{name: getattr(KIT, name) for name in KIT.__slots__} | {"latent_scale": 1.0})
    _, (image,) = painted(wish(steps=3, image=picture, mask=mask, seed=1), kit=kit)
    assert np.abs(image[:, :32].astype(int) - 200).max() <= 1
    assert np.abs(image[:, 32:].astype(int) - 200).max() > 20


def test_too_little_strength_leaves_nothing_to_do():
    with pytest.raises(ValueError, match=r"STRENGTH 0.1 of 5 STEPS leaves no step to do"):
        painted(wish(steps=5, strength=0.1, image=np.zeros((64, 64, 3), np.uint8)))


def test_an_archive_for_masks_only_says_so():
    only = kits.Kits(None, KIT, LIMITS)
    assert only.for_mask(has_mask=True) is KIT
    with pytest.raises(ValueError, match="this archive only fills masks"):
        only.for_mask(has_mask=False)
    assert kits.Kits(KIT, None, LIMITS).for_mask(has_mask=True) is KIT
