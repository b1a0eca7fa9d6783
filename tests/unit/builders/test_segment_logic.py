"""Segment Anything's prompts and mask upscaling: refusals in words, and the reference's own numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.python_steps.segment import prompts, upscale
from builders.python_steps.segment.prompts import Prompt

NAN, INF = float("nan"), float("inf")


def points(*pairs):
    return np.array(pairs, np.float32).reshape(-1, 2)


def labels(*values):
    return np.array(values, np.int32)


def box(*numbers):
    return np.array(numbers, np.float32)


REFUSED = [
    (Prompt(points=points([1, 2])), "POINTS needs POINT_LABELS"),
    (Prompt(labels=labels(1)), "POINT_LABELS needs POINTS"),
    (Prompt(points(), labels()), "1 to 256 pairs"),
    (Prompt(points(*[[1, 1]] * 257), labels(*[1] * 257)), "1 to 256 pairs"),
    (Prompt(points([1, 2]), labels(1, 0)), "2 labels for 1 points"),
    (Prompt(points([1, 2]), labels(2)), "1 (object) and 0 (background) only"),
    (Prompt(points([NAN, 2]), labels(1)), "not finite"),
    (Prompt(box=box(0, 0, INF, 5)), "not finite"),
    (Prompt(box=box(0, 0, NAN, 5)), "not finite"),
    (Prompt(box=box(5, 0, 5, 5)), "no inside"),
    (Prompt(box=box(0, 9, 5, 5)), "(0, 9, 5, 5) has no inside"),
    (Prompt(box=box(0, 0, 5)), "(x0, y0, x1, y1)"),
    (Prompt(mask=np.zeros((128, 128), np.float32)), "256x256"),
    (Prompt(mask=np.full((256, 256), NAN, np.float32)), "not finite"),
]


@pytest.mark.parametrize(("prompt", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_no_image_has_is_refused_before_anything_is_computed(prompt, words):
    with pytest.raises(ValueError) as caught:
        prompts.check(prompt)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (Prompt(points([0, 0], [33, 5]), labels(1, 0)), "point (33, 5) is outside the image of 32x16 pixels"),
        (Prompt(points([-1, 5]), labels(1)), "point (-1, 5)"),
        (Prompt(box=box(40, 0, 50, 10)), "BOX (40, 0, 50, 10) is outside the image of 32x16 pixels"),
        (Prompt(box=box(-9, -9, -1, -1)), "outside"),
    ],
)
def test_what_this_image_has_not_is_refused(prompt, words):
    prompts.check(prompt)
    with pytest.raises(ValueError) as caught:
        prompts.question(prompt, 16, 32)
    assert words in str(caught.value)


def test_without_a_prompt_the_centre_is_meant():
    asked = prompts.question(Prompt(), 512, 1024)
    assert asked.points.tolist() == [[[512, 256], [0, 0]]]
    assert asked.labels.tolist() == [[1, -1]]
    assert (asked.has_mask.tolist(), asked.mask.shape) == ([0], (1, 1, 256, 256))


def test_a_mask_alone_is_a_prompt():
    asked = prompts.question(Prompt(mask=np.ones((256, 256))), 512, 1024)
    assert (asked.points.shape, asked.labels.shape, asked.has_mask.tolist()) == ((1, 0, 2), (1, 0), [1])


def test_a_box_is_two_labelled_corners_and_takes_the_place_of_padding():
    asked = prompts.question(Prompt(points([4, 8]), labels(0), box(0, 0, 16, 32)), 64, 32)
    assert asked.labels.tolist() == [[0, 2, 3]]
    assert asked.points.tolist() == [[[64, 128], [0, 0], [256, 512]]]
    assert {array.dtype for array in (asked.points, asked.labels, asked.mask)} == {np.dtype(np.float32)}


@pytest.mark.builders
@given(st.integers(1, 3000), st.integers(1, 3000))
def test_the_size_inside_the_encoder_is_the_reference_s(height, width):
    from builders.checkpoints.segment_anything import library

    library()
    from segment_anything.utils.transforms import ResizeLongestSide

    assert prompts.encoder_size(height, width) == ResizeLongestSide.get_preprocess_shape(height, width, 1024)


@pytest.mark.builders
@pytest.mark.parametrize("size", [(480, 640), (333, 77), (1, 5), (7, 3000), (1080, 1920), (1024, 1024)])
def test_masks_are_upscaled_as_pytorch_interpolates(size):
    import torch
    from torch.nn.functional import interpolate

    logits = np.random.default_rng(size[0]).standard_normal((2, 256, 256)).astype(np.float32)
    inside = prompts.encoder_size(*size)
    full = interpolate(torch.from_numpy(logits)[None], (1024, 1024), mode="bilinear", align_corners=False)
    expected = interpolate(full[..., : inside[0], : inside[1]], size, mode="bilinear", align_corners=False)[0].numpy()
    np.testing.assert_allclose(upscale.full_logits(logits, inside, size), expected, atol=1e-5)
    masks = upscale.masks(logits, inside, size)
    assert (masks.dtype, masks.shape) == (np.uint8, (2, *size))
    assert (masks == (expected > 0)).mean() > 0.9999
