"""`{"inputs": ..., "parameters": {"candidate_labels": ...}}`, and the answer as transformers' pipeline gives it."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.domain.errors import InferenceFailed, InvalidRequest, NotAcceptable, UnsupportedMediaType
from server.domain.inference import Tensor
from tests.unit.codecs.codec_archives import SAGEMAKER, archive, ask, document, tensor, written

FACE = [
    ("TEXT", "BYTES", (1,)),
    ("LABELS", "BYTES", (-1,)),
    ("HYPOTHESIS_TEMPLATE", "BYTES", (1,), True),
    ("MULTI_LABEL", "BOOL", (1,), True),
]
ZERO_SHOT = archive(FACE, [("SCORES", "FP32", (-1,))], 4, "zero-shot-classification", "nli.tar.gz")
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


def question(inputs="a text", labels=("x", "y"), **parameters):
    given_labels = list(labels) if isinstance(labels, tuple) else labels
    return {"inputs": inputs, "parameters": {"candidate_labels": given_labels, **parameters}}


def values(decoded):
    return {name: each.data.tolist() for name, each in decoded.request.inputs.items()}


def answer_to(doc, scores):
    decoded = ask(ZERO_SHOT, doc)
    return json.loads(written(decoded, tensor("SCORES", "FP32", scores))[1])


def test_a_text_with_labels():
    assert values(ask(ZERO_SHOT, question())) == {
        "TEXT": [[b"a text"]],
        "LABELS": [[b"x", b"y"]],
        "HYPOTHESIS_TEMPLATE": [[b"This example is {}."]],
        "MULTI_LABEL": [[False]],
    }


def test_several_texts_are_rows_with_the_same_labels():
    found = values(ask(ZERO_SHOT, question(["a", "b"], "x , y,, ", multi_label=True, hypothesis_template="Über {}")))
    assert found == {
        "TEXT": [[b"a"], [b"b"]],
        "LABELS": [[b"x", b"y"]] * 2,
        "HYPOTHESIS_TEMPLATE": [["Über {}".encode()]] * 2,
        "MULTI_LABEL": [[True]] * 2,
    }


def test_parameters_may_stand_beside_the_inputs():
    found = values(ask(ZERO_SHOT, {"inputs": "a", "candidate_labels": ["x"], "multi_label": True}))
    assert (found["LABELS"], found["MULTI_LABEL"]) == ([[b"x"]], [[True]])


@pytest.mark.parametrize("content_type", ["", "application/json", "application/octet-stream", "text/plain"])
def test_json_is_read_whatever_it_is_called(content_type):
    assert values(ask(ZERO_SHOT, question(), content_type))["TEXT"] == [[b"a text"]]


def test_one_text_is_answered_with_an_object():
    assert answer_to(question("é"), [[0.25, 0.75]]) == {"sequence": "é", "labels": ["y", "x"], "scores": [0.75, 0.25]}


def test_a_list_of_texts_is_answered_with_a_list():
    assert answer_to(question(["a"]), [[0.75, 0.25]]) == [
        {"sequence": "a", "labels": ["x", "y"], "scores": [0.75, 0.25]}
    ]


@given(st.lists(TEXT, min_size=1, max_size=4), st.lists(TEXT, min_size=1, max_size=6), st.randoms())
def test_every_score_keeps_its_label(texts, labels, random):
    scores = np.array([[random.random() for _ in labels] for _ in texts], np.float32)
    decoded = ask(ZERO_SHOT, question(texts, labels))
    answers = json.loads(written(decoded, Tensor("SCORES", "FP32", scores))[1])
    assert [each["sequence"] for each in answers] == texts
    for answer, row in zip(answers, scores, strict=True):
        assert answer["scores"] == sorted(answer["scores"], reverse=True)
        told = sorted(zip(answer["labels"], np.array(answer["scores"], np.float32).tolist(), strict=True))
        assert told == sorted(zip(labels, row.tolist(), strict=True))


@pytest.mark.parametrize(
    ("doc", "message"),
    [
        ({"inputs": "a"}, "'candidate_labels' is missing"),
        ({"inputs": "a", "parameters": None}, "'candidate_labels' is missing"),
        (question(labels=None), "'candidate_labels' is missing"),
        (question(labels=()), "'candidate_labels' is empty"),
        (question(labels=" , "), "'candidate_labels' is empty"),
        (question(labels=7), "'candidate_labels' must be a list"),
        (question(labels=("x", 1)), "'candidate_labels' must hold strings; entry 1"),
        (question([]), "'inputs' is empty"),
        (question(""), "empty text \\(entry 0\\)"),
        (question(["a", ""]), "empty text \\(entry 1\\)"),
        (question(["a", 1]), "'inputs' must hold strings; entry 1"),
        (question(["a"] * 5), "5 texts, but archive 'nli.tar.gz' takes at most 4"),
        (question(["a", "b"], ["x"] * (1 << 17) + ["y"]), "more than 262144 pairs"),
        (question(multi_label="yes"), "'multi_label' must be true or false"),
        (question(hypothesis_template=1), "'hypothesis_template' must be a string"),
        (question(multi_labels=True), "parameter 'multi_labels' is not known"),
        ({"inputs": "a", "parameters": [1]}, "'parameters' must be a JSON object"),
    ],
)
def test_wrong_questions(doc, message):
    with pytest.raises(InvalidRequest, match=message):
        ask(ZERO_SHOT, doc)


def test_strings_that_are_not_unicode():
    with pytest.raises(InvalidRequest):
        ask(ZERO_SHOT, b'{"inputs":"a","candidate_labels":["\\ud800"],"n":NaN}')


def test_a_bare_text_is_refused_with_advice():
    with pytest.raises(UnsupportedMediaType, match=r"carries no labels.*candidate_labels"):
        ask(ZERO_SHOT, b"a text", "text/plain")


def test_kserve_requests_are_kserve_requests():
    doc = {
        "inputs": [
            document(["a"], (1, 1), "BYTES", "TEXT")["inputs"][0],
            document(["x"], (1, 1), "BYTES", "LABELS")["inputs"][0],
        ]
    }
    decoded = ask(ZERO_SHOT, doc)
    assert json.loads(written(decoded, tensor("SCORES", "FP32", [[1.0]]))[1])["outputs"][0]["name"] == "SCORES"


def test_accept_picks_other_forms():
    assert written(ask(ZERO_SHOT, question(), accept=SAGEMAKER), tensor("SCORES", "FP32", [[0, 1]]))[
        0
    ].content_type.startswith(SAGEMAKER)
    with pytest.raises(NotAcceptable):
        ask(ZERO_SHOT, question(), accept="image/png")


def test_an_answer_of_another_shape_is_the_model_s_fault():
    with pytest.raises(InferenceFailed, match=r"SCORES of shape \[1, 3\]"):
        answer_to(question(), [[1.0, 2.0, 3.0]])


def test_archives_with_another_face_take_kserve_only():
    other = archive([("A", "FP32", (1,))], [("B", "FP32", (1,))], 4, "zero-shot-classification")
    with pytest.raises(InvalidRequest, match="'inputs'"):
        ask(other, question())
