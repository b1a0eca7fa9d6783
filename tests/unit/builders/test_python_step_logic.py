"""The pure halves of the builders' Python steps, against plain numpy and the tokenizer itself."""

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from builders.python_steps.pool import logic as pool_logic
from builders.python_steps.tokenize import logic as tokenize_logic


@pytest.fixture
def tokenizer(tmp_path):
    words = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 2, "b": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.enable_truncation(4)
    words.enable_padding(pad_id=0, pad_token="[PAD]")
    words.save(str(tmp_path / "tokenizer.json"))
    return tokenize_logic.load(tmp_path)


def test_texts_are_padded_to_the_longest_of_the_request(tokenizer):
    ids, mask, types = tokenize_logic.tokenize(tokenizer, ["a b a", "b"])
    assert ids.tolist() == [[2, 3, 2], [3, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert types.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert {array.dtype for array in (ids, mask, types)} == {np.dtype(np.int64)}


def test_texts_are_cut_at_the_limit_of_the_checkpoint(tokenizer):
    ids, _, _ = tokenize_logic.tokenize(tokenizer, ["a a a a a a a"])
    assert ids.shape == (1, 4)


def test_cells_are_read_in_order_whatever_their_shape():
    cells = np.array([["ä".encode()], [b"b"]], dtype=np.object_)
    assert tokenize_logic.decode_texts(cells) == ["ä", "b"]


def test_a_cell_that_is_not_utf8_is_named():
    with pytest.raises(ValueError, match="text 1 is not UTF-8"):
        tokenize_logic.decode_texts(np.array([b"fine", b"\xff"], dtype=np.object_))


def test_padding_does_not_count_in_a_mean():
    tokens = np.array([[[1.0, 2.0], [3.0, 4.0], [99.0, 99.0]]], dtype=np.float32)
    mask = np.array([[1, 1, 0]])
    assert pool_logic.pool(tokens, mask, "mean").tolist() == [[2.0, 3.0]]


def test_padding_does_not_count_in_a_maximum():
    tokens = np.array([[[-1.0, -2.0], [-3.0, -1.0], [99.0, 99.0]]], dtype=np.float32)
    assert pool_logic.pool(tokens, np.array([[1, 1, 0]]), "max").tolist() == [[-1.0, -1.0]]


def test_the_first_token_stands_for_the_text_in_cls_pooling():
    tokens = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    assert pool_logic.pool(tokens, np.ones((1, 3), np.int64), "cls").tolist() == [[0.0, 1.0]]


def test_an_unknown_pooling_mode_is_refused():
    with pytest.raises(ValueError, match="not one of mean, cls, max"):
        pool_logic.pool(np.zeros((1, 1, 1), np.float32), np.ones((1, 1), np.int64), "sum")


def test_normalised_vectors_have_length_one_and_zeros_stay_finite():
    vectors = pool_logic.normalize(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1.0, 0.0], atol=1e-6)
