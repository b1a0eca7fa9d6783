"""The pure half of the advertising pipeline, against Pillow and by its own promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from builders.python_steps.advertise import logic

SIDES = st.integers(1, 60)


@pytest.mark.parametrize("size", [(40, 30), (7, 90), (64, 64), (1, 1)])
def test_resizing_is_pillows_bilinear_filter(size):
    image = np.random.default_rng(0).integers(0, 256, (50, 33, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR), np.int16)
    assert np.abs(logic.resize(image, *size) - expected).max() <= 1


@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 255))
def test_a_plain_picture_stays_plain(height, width, to_height, to_width, grey):
    plain = np.full((height, width), grey, np.uint8)
    assert (logic.resize(plain, to_height, to_width) == grey).all()


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([8, 64]), st.sampled_from([64, 512, 768]))
def test_working_sizes_are_allowed_ones(height, width, multiple, longest):
    sides = logic.working_size(height, width, multiple, longest)
    assert all(side % multiple == 0 and multiple <= side <= longest for side in sides)


@pytest.mark.parametrize("white", [1, 255, 200])
def test_any_mask_becomes_black_and_white(white):
    mask = np.array([[0, white]], np.uint8)
    assert logic.binary(mask).tolist() == [[0, 255]]
    assert logic.inverted(logic.binary(mask)).tolist() == [[255, 0]]


def test_a_soft_edge_fades_only_near_the_edge():
    mask = np.zeros((40, 40), np.uint8)
    mask[:, 20:] = 255
    soft = logic.softened(mask, 2)
    assert (soft[:, :15] == 0).all()
    assert soft[:, 25:].min() > 0.999
    assert (np.diff(soft[5]) >= -1e-6).all()


def test_over_takes_the_front_where_its_share_is_one():
    front, behind = np.full((2, 2, 3), 200, np.uint8), np.full((2, 2, 3), 100, np.uint8)
    share = np.array([[0, 1], [0.5, 0.25]], np.float32)
    assert logic.over(front, behind, share)[..., 0].tolist() == [[100, 200], [150, 125]]


def test_a_pnm_file_is_read_back_by_pillow():
    image = np.random.default_rng(1).integers(0, 256, (5, 4, 3), np.uint8)
    from io import BytesIO

    with Image.open(BytesIO(logic.pnm(image).tobytes())) as read:
        assert (np.asarray(read) == image).all()


@pytest.mark.parametrize(("steps", "expected"), [(50, 0.4), (3, 0.5), (2, 0.75), (1, 1.0), (0, 0.4)])
def test_few_steps_still_leave_one_to_do(steps, expected):
    assert logic.at_least_a_step(0.4, np.array([steps], np.int32)) == pytest.approx(expected)


def test_the_painters_own_steps_are_enough():
    assert logic.at_least_a_step(0.4, None) == 0.4
