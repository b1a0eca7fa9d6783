"""Pairs are joined as the tokenizer itself joins them, and scored together without touching each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from builders.checkpoints import fixture_tokenizer
from builders.python_steps.zero_shot.logic import Row
from builders.python_steps.zero_shot.pairs import PairTooLong, Tokens
from builders.python_steps.zero_shot.scoring import Limits, NliFailed, Scorer

pytestmark = pytest.mark.builders

KINDS = ("byte-level-bpe", "unigram")
LENGTH = 24
TEXT = st.text(st.characters(codec="utf-8"), max_size=60)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folders = {}
    for kind in KINDS:
        folders[kind] = tmp_path_factory.mktemp(kind)
        fixture_tokenizer.make(kind, LENGTH).backend_tokenizer.save(str(folders[kind] / "tokenizer.json"))
    return folders


@pytest.fixture(scope="module")
def reference(folders):
    """The tokenizers with the truncation that the reference asks for."""
    loaded = {}
    for kind, folder in folders.items():
        loaded[kind] = Tokenizer.from_file(str(folder / "tokenizer.json"))
        loaded[kind].enable_truncation(LENGTH, strategy="only_first")
    return loaded


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXT, label=st.text(st.characters(codec="utf-8"), max_size=12))
def test_pairs_have_the_ids_that_the_tokenizer_gives(folders, reference, kind, text, label):
    tokens = Tokens(folders[kind], LENGTH, pad_id=1)
    premise, hypothesis = tokens.premises([text])[0], tokens.hypotheses([label])[0]
    try:
        length = tokens.length(premise, hypothesis)
    except PairTooLong:
        whole = Tokenizer.from_file(str(folders[kind] / "tokenizer.json")).encode(text, label)
        assert len(whole.ids) > LENGTH
        return
    expected = reference[kind].encode(text, label)
    ids, mask, types = tokens.batch([(premise, hypothesis)], [length])
    assert ids.tolist() == [expected.ids]
    assert mask.tolist() == [expected.attention_mask]
    assert types.tolist() == [expected.type_ids]


def test_shorter_pairs_are_padded(folders):
    tokens = Tokens(folders["byte-level-bpe"], LENGTH, pad_id=1)
    pairs = list(zip(tokens.premises(["one two three", "a"]), tokens.hypotheses(["b", "b"]), strict=True))
    lengths = [tokens.length(*pair) for pair in pairs]
    ids, mask, _ = tokens.batch(pairs, lengths)
    assert ids.shape == (2, max(lengths))
    assert ids[1, lengths[1] :].tolist() == [1] * (lengths[0] - lengths[1])
    assert mask.sum(1).tolist() == lengths


class CountingTokenizer:
    """A tokenizer that counts what it is asked."""

    def __init__(self, inner):
        self._inner, self.asked = inner, []

    def encode_batch_fast(self, texts, **how):
        self.asked += texts
        return self._inner.encode_batch_fast(texts, **how)


def test_recurring_labels_are_not_tokenised_again(folders):
    tokens = Tokens(folders["unigram"], LENGTH, pad_id=0)
    tokens._tokenizer = counting = CountingTokenizer(tokens._tokenizer)
    first = tokens.hypotheses(["is a", "is b", "is a"])
    again = tokens.hypotheses(["is b", "is c", "is a"])
    assert counting.asked == ["is a", "is b", "is c"]
    assert [each.tolist() for each in again[::2]] == [first[1].tolist(), first[0].tolist()]


def test_labels_that_were_not_used_lately_are_forgotten(folders):
    tokens = Tokens(folders["unigram"], LENGTH, pad_id=0, memory=100)
    tokens._tokenizer = counting = CountingTokenizer(tokens._tokenizer)
    for number in range(50):
        tokens.hypotheses([f"this is about {number}", "always"])
    assert tokens._kept <= 100
    assert counting.asked.count("always") == 1
    tokens.hypotheses(["this is about 0"])
    assert counting.asked.count("this is about 0") == 2


class Nli:
    """An NLI model whose logits follow from a pair's ids alone; fails for batches with one of the given ids."""

    def __init__(self, fails_on=()):
        self.batches, self._fails_on = [], fails_on

    def __call__(self, ids, mask, _types):
        self.batches.append(ids.shape)
        if np.isin(ids, self._fails_on).any():
            raise NliFailed("out of order")
        sums = (ids * mask).sum(1)
        return np.stack([np.sin(sums), np.cos(sums), np.sin(sums * 3)], axis=1).astype(np.float32)


@pytest.fixture
def scorer(folders):
    return Scorer(Tokens(folders["byte-level-bpe"], LENGTH, pad_id=1), 2, 0, Limits(4, 64))


def rows(*texts, labels=("x", "y"), multi=False):
    return [Row(text, tuple(f"It is {label}." for label in labels), multi) for text in texts]


REQUESTS = [
    rows("one", "two"),
    rows("one", labels=("x", "z", "w"), multi=True),
    rows("a much longer text about trains and stations"),
]


def test_requests_share_batches_and_equal_pairs_run_once(scorer):
    nli = Nli()
    scorer.score(REQUESTS, nli)
    assert sum(count for count, _ in nli.batches) == 8  # of 9 pairs one comes twice
    assert len(nli.batches) < len(REQUESTS) + 1
    assert all(count * length <= 64 for count, length in nli.batches)


def test_no_request_notices_the_others(scorer):
    together = scorer.score(REQUESTS, Nli())
    for request, outcome in zip(REQUESTS, together, strict=True):
        (alone,) = scorer.score([request], Nli())
        np.testing.assert_allclose(outcome, alone, rtol=1e-6)
        assert outcome.shape == (len(request), len(request[0].hypotheses))
        assert outcome.dtype == np.float32


def test_a_label_that_is_too_long_fails_its_own_request(scorer):
    first, second = scorer.score([rows("one", labels=("x", "word " * 40)), rows("two")], Nli())
    assert isinstance(first, PairTooLong)
    assert "leaves no room for the text" in str(first)
    assert isinstance(second, np.ndarray)


def test_a_batch_that_fails_takes_only_its_own_requests_along(folders):
    tokens = Tokens(folders["byte-level-bpe"], LENGTH, pad_id=1)
    (mark,) = tokens.premises(["@"])[0]
    outcomes = Scorer(tokens, 2, 0, Limits(1, 64)).score([rows("@"), rows("two")], Nli(fails_on=[mark]))
    assert isinstance(outcomes[0], NliFailed)
    assert isinstance(outcomes[1], np.ndarray)


def test_nothing_to_score(scorer):
    assert scorer.score([], Nli()) == []
