"""COCO run lengths: whatever is written is read back by the COCO API's own way of reading."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from server.codecs.images import rle

MASKS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 1))


def read(counts):
    """`rleFrString` of cocodataset/cocoapi, in Python: characters to run lengths."""
    lengths, position = [], 0
    while position < len(counts):
        value, shift, has_more = 0, 0, True
        while has_more:
            group = ord(counts[position]) - 48
            value |= (group & 0x1F) << 5 * shift
            has_more = bool(group & 0x20)
            position += 1
            shift += 1
            if not has_more and group & 0x10:
                value |= -1 << 5 * shift
        if len(lengths) > 2:
            value += lengths[-2]
        lengths.append(value)
    return lengths


def mask_of(document):
    height, width = document["size"]
    flat = np.concatenate(
        [np.full(length, index % 2, np.uint8) for index, length in enumerate(read(document["counts"]))]
    )
    return flat.reshape((height, width), order="F")


@given(MASKS)
def test_every_mask_comes_back(mask):
    document = rle.encode(mask)
    assert document["size"] == list(mask.shape)
    assert mask_of(document).tolist() == mask.tolist()


@given(st.lists(st.integers(0, 2**40), max_size=40))
def test_every_sequence_of_lengths_comes_back(lengths):
    assert read(rle.characters(np.array(lengths, np.int64))) == lengths


@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        ([[0, 0], [0, 0]], "4"),
        ([[1, 1], [1, 1]], "04"),
        ([[0, 1], [1, 0]], "121"),
        ([[1, 0, 0], [1, 1, 0]], "021O1"),
    ],
)
def test_small_masks_are_written_as_pycocotools_writes_them(mask, counts):
    assert rle.encode(np.array(mask, np.uint8)) == {"size": list(np.shape(mask)), "counts": counts}


def test_a_large_mask_is_short():
    mask = np.zeros((480, 640), np.bool_)
    mask[100:200, 300:400] = True
    assert len(str(rle.encode(mask)["counts"])) < 250
    assert (mask_of(rle.encode(mask)) == mask).all()
