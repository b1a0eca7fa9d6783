"""Requests into one request, and one answer into answers."""

import numpy as np
import pytest

from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.serving.batch_merge import kind_of, length_of, merged, rows_of, split


def numbers(rows, width=2, name="X", **more):
    data = np.arange(rows * width, dtype=np.float32).reshape(rows, width)
    return InferenceRequest({name: Tensor(name, "FP32", data)}, **more)


def texts(*each):
    return InferenceRequest({"T": Tensor("T", "BYTES", np.array([[text] for text in each], np.object_))})


def test_rows_come_back_to_whom_they_belong():
    requests = [numbers(2), numbers(1), numbers(3)]
    one = merged(requests)
    answer = InferenceResponse((Tensor("Y", "FP32", one.inputs["X"].data * 2),), {"said": 1})
    answers = split(answer, [rows_of(request) for request in requests])
    for request, mine in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(mine.outputs[0].data, request.inputs["X"].data * 2)
        assert mine.parameters == {"said": 1}


def test_one_request_is_passed_on_as_it_is():
    request = numbers(2, id="mine", parameters={"priority": 1})
    assert merged([request]) is request
    answer = InferenceResponse((Tensor("Y", "FP32", np.zeros(5, np.float32)),))
    assert split(answer, [2]) == [answer]


def test_an_answer_without_a_row_for_each_row_cannot_be_split():
    assert split(InferenceResponse((Tensor("Y", "FP32", np.zeros((3, 2), np.float32)),)), [2, 2]) is None
    assert split(InferenceResponse((Tensor("Y", "FP32", np.zeros((), np.float32)),)), [1, 1]) is None


@pytest.mark.parametrize(
    "other",
    [
        numbers(1, width=3),
        numbers(1, name="Z"),
        numbers(1, outputs=("Y",)),
        numbers(1, parameters={"temperature": 2}),
        InferenceRequest({"X": Tensor("X", "INT32", np.zeros((1, 2), np.int32))}),
    ],
    ids=["shape", "name", "outputs", "parameters", "datatype"],
)
def test_what_differs_is_not_merged(other):
    assert kind_of(other) != kind_of(numbers(4))


def test_texts_of_any_length_and_requests_of_any_urgency_are_of_one_kind():
    assert kind_of(texts(b"a")) == kind_of(texts(b"much longer", b"two"))
    urgent = numbers(1, id="b", parameters={"priority": 1, "timeout": 5})
    assert kind_of(urgent) == kind_of(numbers(3, id="c", parameters={}))
    assert merged([urgent, numbers(1)]).parameters == {}


def test_rows_and_lengths_are_told():
    assert (rows_of(texts(b"a", b"bcd")), length_of(texts(b"a", b"bcd"))) == (2, 3)
    uneven = {"X": Tensor("X", "FP32", np.zeros((2, 1))), "Z": Tensor("Z", "FP32", np.zeros((3, 1)))}
    assert rows_of(InferenceRequest(uneven)) == 0
    assert rows_of(InferenceRequest({"X": Tensor("X", "FP32", np.zeros(()))})) == 0
