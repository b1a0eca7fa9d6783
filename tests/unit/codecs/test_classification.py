"""The classification extension, as the contract's section 4.3 words it."""

import json

import numpy as np
import pytest

from server.domain.errors import InvalidRequest
from tests.unit.codecs.codec_archives import archive, ask, document, tensor, written


def ranked(values, classes, datatype="FP32", batch=0, labels=(), **wish):
    target = archive([("X", "FP32", (-1,))], [("Y", datatype, (-1,), False, labels)], batch)
    shape = (1, 1) if batch else (1,)
    doc = document([0.0], shape, outputs=[{"name": "Y", "parameters": {"classification": classes, **wish}}])
    return written(ask(target, doc), tensor("Y", datatype, values))


def output(values, classes, *args, **options):
    entry = json.loads(ranked(values, classes, *args, **options)[1])["outputs"][0]
    return entry["datatype"], entry["shape"], entry["data"]


def test_the_contracts_example():
    assert output([10, 20, 21], 2) == ("BYTES", [2], ["21.000000:2", "20.000000:1"])


def test_integers_are_plain():
    assert output([3, -128, 7], 3, "INT8") == ("BYTES", [3], ["7:2", "3:0", "-128:1"])


def test_unsigned_extremes():
    assert output([0, 2**64 - 1, 1], 2, "UINT64")[2] == [f"{2**64 - 1}:1", "1:2"]


def test_smallest_integers_do_not_wrap():
    assert output([-(2**63), 0], 2, "INT64")[2] == ["0:1", f"{-(2**63)}:0"]


def test_batches_are_ranked_per_item():
    assert output([[1, 2], [4, 3]], 5, batch=4) == (
        "BYTES",
        [2, 2],
        ["2.000000:1", "1.000000:0", "4.000000:0", "3.000000:1"],
    )


def test_further_axes_belong_to_the_item():
    values = np.arange(8).reshape(2, 2, 2)
    assert output(values, 1, batch=4) == ("BYTES", [2, 1], ["3.000000:3", "7.000000:3"])


def test_without_batch_the_whole_tensor_is_one_item():
    assert output([[1, 2], [4, 3]], 1) == ("BYTES", [1], ["4.000000:2"])


def test_labels():
    assert output([1, 3, 2], 3, labels=("cat", "dog"))[2] == ["3.000000:1:dog", "2.000000:2", "1.000000:0:cat"]


def test_equal_values_keep_their_order_and_nan_is_last():
    assert output([1, np.nan, 1, np.inf], 4)[2] == ["inf:3", "1.000000:0", "1.000000:2", "nan:1"]
    assert output([1, 2, 1, 2], 4, "INT32")[2] == ["2:1", "2:3", "1:0", "1:2"]


def test_zero_is_off():
    assert output([1, 2], 0) == ("FP32", [2], [1.0, 2.0])


@pytest.mark.parametrize(
    ("values", "batch", "shape"), [([], 0, [0]), (np.zeros((0, 3)), 4, [0, 0]), (np.zeros((2, 0)), 4, [2, 0])]
)
def test_nothing_to_rank(values, batch, shape):
    assert output(values, 3, batch=batch) == ("BYTES", shape, [])


def test_binary():
    answer, body = ranked([1, 2], 1, binary_data=True)
    assert "json-header-size" in answer.content_type
    assert body.endswith(b"\x0a\0\0\x002.000000:1")


@pytest.mark.parametrize("datatype", ["FP16", "BOOL", "BYTES", "BF16"])
def test_datatypes_that_cannot_be_ranked(datatype):
    with pytest.raises(InvalidRequest, match=f"unsupported type '{datatype}'"):
        ranked([], 1, datatype)


@pytest.mark.parametrize("classes", [-1, 1.0, "1", True, 10**6 + 1])
def test_counts_that_are_refused(classes):
    with pytest.raises(InvalidRequest, match="unsigned integer up to 1000000"):
        ranked([1], classes)
