"""What a smaller precision may cost, and what the figures are taken on."""

import numpy as np
import pytest

from builders.pipeline.accuracy import check_precision
from builders.pipeline.parity import ParityFailed
from builders.pipeline.sentences import texts

WIDTH = 8


def exact(batch):
    """A vector for each text, of its letters."""
    return np.stack([np.random.default_rng(list(text.encode())).standard_normal(WIDTH, np.float32) for text in batch])


def off_by(amount):
    return lambda batch: exact(batch) + np.float32(amount) * np.roll(exact(batch), 1, axis=1)


def check(encoder, precision="int8", count=60):
    return check_precision(precision, encoder, exact, ["[PAD]", "##ing", "\u2581Haus", "\u0120locomotive"], count)


def test_the_figures_of_a_faithful_form():
    figures = check(off_by(0.01))
    assert figures["texts"] == 60
    assert 0.999 < figures["min_cosine"] <= figures["mean_cosine"] < 1
    assert figures["moved_by_neighbours"] == 0


def test_a_form_that_is_too_far_off_is_refused_with_the_text_and_what_to_do():
    with pytest.raises(ParityFailed, match=r"cosine 0\.\d+ .*at least 0\.985 is asked.*build it in fp32\. The text: '"):
        check(off_by(0.4))
    with pytest.raises(ParityFailed, match="in fp16"):
        check(off_by(0.06), "fp16")


def test_no_number_is_no_pass():
    with pytest.raises(ParityFailed, match="cosine nan"):
        check(lambda batch: exact(batch) * np.float32("nan"))


def test_answers_that_move_with_their_neighbours_are_refused():
    def mixing(batch):
        found = exact(batch)
        return found + np.float32(0.005) * found.mean(axis=0) * (len(batch) > 1)

    with pytest.raises(ParityFailed, match=r"moves by .* with the texts beside it"):
        check(mixing)


def test_texts_are_different_from_each_other_and_the_same_each_time():
    made = texts(300, ["[CLS]", "##s", "aa", "\u2581Haus", "\u0120locomotive", "x1"])
    assert len(set(made)) == 300
    assert made == texts(300, ["[CLS]", "##s", "aa", "\u2581Haus", "\u0120locomotive", "x1"])
    assert set(made[1].split()) == {"Haus", "locomotive"}
    assert {len(text.split()) for text in made} >= {6, 30, 57}
    assert not set(made) & set(texts(300, seed=2))
