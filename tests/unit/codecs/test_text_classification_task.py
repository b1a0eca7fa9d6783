"""Text classification as transformers' pipeline answers it: one label, the best few, cascades."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.domain.errors import InferenceFailed, InvalidRequest
from server.domain.inference import Tensor
from tests.unit.codecs.codec_archives import archive, ask, document, tensor, written

LABELS = ("sad", "calm", "glad")
FINE = ("tax", "parcel")
OUTPUTS = [("SCORES", "FP32", (3,), False, LABELS), ("LOGITS", "FP32", (3,))]
MOODS = archive([("TEXT", "BYTES", (1,))], OUTPUTS, 4, "text-classification")
CASCADE = archive(
    [("TEXT", "BYTES", (1,))],
    [
        *OUTPUTS,
        ("FINE_SCORES", "FP32", (2,), False, FINE),
        ("FINE_LOGITS", "FP32", (2,)),
        ("FIRED", "BOOL", (1,)),
    ],
    4,
    "text-classification",
)
ONE, OTHER = [0.25, 0.5, 0.125], [0.75, 0.125, 0.5]


def answer_to(target, doc, *tensors, content_type=""):
    return json.loads(written(ask(target, doc, content_type), *tensors)[1])


def scores(*rows, name="SCORES"):
    return tensor(name, "FP32", list(rows))


def test_one_text_has_a_list_of_its_best_label():
    assert answer_to(MOODS, {"inputs": "a"}, scores(ONE)) == [{"label": "calm", "score": 0.5}]
    assert answer_to(MOODS, b"a", scores(ONE), content_type="text/plain") == [{"label": "calm", "score": 0.5}]


def test_a_list_has_the_best_label_of_each():
    assert answer_to(MOODS, {"inputs": ["a", "b"]}, scores(ONE, OTHER)) == [
        {"label": "calm", "score": 0.5},
        {"label": "sad", "score": 0.75},
    ]


def test_top_k_of_one_text_is_a_list():
    doc = {"inputs": "a", "parameters": {"top_k": 2}}
    assert answer_to(MOODS, doc, scores(ONE)) == [{"label": "calm", "score": 0.5}, {"label": "sad", "score": 0.25}]


def test_top_k_of_a_list_is_a_list_of_lists():
    doc = {"inputs": ["a"], "parameters": {"top_k": 1}}
    assert answer_to(MOODS, doc, scores(ONE)) == [[{"label": "calm", "score": 0.5}]]


def test_null_asks_for_all_labels():
    doc = {"inputs": "a", "parameters": {"top_k": None}}
    assert [each["label"] for each in answer_to(MOODS, doc, scores(ONE))] == ["calm", "sad", "glad"]


def test_another_function_is_applied_to_the_logits():
    for function, expected in [
        ("none", 2.0),
        ("sigmoid", 1 / (1 + np.exp(-2))),
        ("softmax", np.exp(2) / (np.exp(2) + 2)),
    ]:
        decoded = ask(MOODS, {"inputs": "a", "parameters": {"function_to_apply": function}})
        assert decoded.request.outputs == ("LOGITS",)
        (answer,) = json.loads(written(decoded, scores([2, 0, 0], name="LOGITS"))[1])
        assert answer["label"] == "sad"
        assert answer["score"] == pytest.approx(expected, rel=1e-6)


def test_sigmoid_and_softmax_of_large_numbers():
    for function in ("sigmoid", "softmax"):
        doc = {"inputs": "a", "parameters": {"function_to_apply": function, "top_k": None}}
        answers = answer_to(MOODS, doc, scores([-1000, 0, 1000], name="LOGITS"))
        assert answers[0] == {"label": "glad", "score": 1}
        assert answers[-1]["score"] == 0


def test_a_cascade_answers_with_the_stage_that_had_the_last_word():
    given_scores = scores(ONE, OTHER), scores([0, 0], [0.375, 0.625], name="FINE_SCORES")
    fired = Tensor("FIRED", "BOOL", np.array([[False], [True]]))
    assert answer_to(CASCADE, {"inputs": ["a", "b"]}, *given_scores, fired) == [
        {"label": "calm", "score": 0.5},
        {"label": "parcel", "score": 0.625},
    ]


def test_only_what_the_answer_needs_is_asked_for():
    assert ask(MOODS, {"inputs": "a"}).request.outputs == ("SCORES",)
    assert ask(CASCADE, {"inputs": "a"}).request.outputs == ("SCORES", "FINE_SCORES", "FIRED")


@given(st.lists(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=4), st.integers(1, 5))
def test_the_best_come_first(rows, top_k):
    doc = {"inputs": ["t"] * len(rows), "parameters": {"top_k": top_k}}
    for answers, row in zip(answer_to(MOODS, doc, scores(*rows)), rows, strict=True):
        assert [each["score"] for each in answers] == pytest.approx(sorted(row, reverse=True)[:top_k])
        assert all(row[LABELS.index(each["label"])] == pytest.approx(each["score"]) for each in answers)


@pytest.mark.parametrize(
    ("doc", "message"),
    [
        ({"inputs": []}, "'inputs' is empty"),
        ({"inputs": ["a", 1]}, "entry 1 is a number"),
        ({"inputs": ["a"] * 5}, "5 texts, but archive 'm.tar.gz' takes at most 4"),
        ({"inputs": "a", "parameters": {"top_k": 0}}, "'top_k' must be a whole number from 1"),
        ({"inputs": "a", "parameters": {"top_k": True}}, "'top_k' must be a whole number from 1"),
        ({"inputs": "a", "parameters": {"function_to_apply": "tanh"}}, "must be one of softmax, sigmoid, none"),
        ({"inputs": "a", "parameters": {"topk": 1}}, "parameter 'topk' is not known"),
        ({"inputs": "a", "parameters": 1}, "'parameters' must be a JSON object"),
    ],
)
def test_wrong_questions(doc, message):
    with pytest.raises(InvalidRequest, match=message):
        ask(MOODS, doc)


def test_a_label_file_that_does_not_fit_is_the_archive_s_fault():
    with pytest.raises(InferenceFailed, match="2 scores, but its label file has 3 labels"):
        answer_to(MOODS, {"inputs": "a"}, scores([1, 2]))


def test_kserve_requests_are_kserve_requests():
    for content_type in ("", "text/plain"):
        decoded = ask(MOODS, document(["x"], (1, 1), "BYTES", "TEXT"), content_type)
        answer = json.loads(written(decoded, scores(ONE), scores(ONE, name="LOGITS"))[1])
        assert {each["name"] for each in answer["outputs"]} == {"SCORES", "LOGITS"}


def test_archives_with_another_face_answer_as_texts_do():
    plain = archive([("T", "BYTES", (1,))], [("Y", "FP32", (2,))], 4, "text-classification")
    for body, content_type in (({"inputs": "a"}, ""), (b"a", "text/plain")):
        assert answer_to(plain, body, scores([1, 2], name="Y"), content_type=content_type) == {
            "outputs": {"Y": [[1.0, 2.0]]}
        }
