"""Zero-shot and text classification on a live server, compared with transformers' own pipelines.

Asked by the clients that people have: boto3, the SageMaker SDK, tritonclient, plain HTTP.
"""

import json
import warnings
from concurrent.futures import ThreadPoolExecutor

import boto3
import numpy as np
import pytest
import requests
import tritonclient.http as triton
from botocore.config import Config
from botocore.exceptions import ClientError

from server.archive.pack import pack
from tests.fakes import classifier_archives as archives
from tests.integration.live_server import live_server

pytestmark = [pytest.mark.builders, pytest.mark.slow, pytest.mark.xdist_group("classifiers")]

ZERO_SHOT, MOODS, SPAM = "zero-shot-bart.tar.gz", "moods.tar.gz", "spam.tar.gz"
TEXT = "The match was lost in the last minute, because of a penalty."
LABELS = ["sports", "politics", "cooking"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    for name, root in ((ZERO_SHOT, archives.zero_shot()), (MOODS, archives.moods()), (SPAM, archives.spam())):
        pack(root, store / name, level=1)
    with live_server(tmp_path_factory.mktemp("server"), "--store", store) as started:
        yield started


@pytest.fixture(scope="module")
def runtime(server):
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=server.base_url,
        region_name="eu-west-1",
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=120),
    )
    yield client
    client.close()


@pytest.fixture(scope="module")
def predict(runtime):
    """The SageMaker SDK's predictor, with its JSON serialiser and deserialiser."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK's own
        import sagemaker
        from sagemaker.deserializers import JSONDeserializer
        from sagemaker.predictor import Predictor
        from sagemaker.serializers import JSONSerializer

        session = sagemaker.Session(
            boto_session=boto3.Session("nobody", "nothing", region_name="eu-west-1"),
            sagemaker_client=object(),
            sagemaker_runtime_client=runtime,
        )
        predictor = Predictor("any-name", session, JSONSerializer(), JSONDeserializer())

    def ask(document, target):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return predictor.predict(document, target_model=target)

    return ask


def invoke(runtime, target, document, content_type="application/json"):
    body = document if isinstance(document, bytes) else json.dumps(document)
    answer = runtime.invoke_endpoint(EndpointName="any", TargetModel=target, ContentType=content_type, Body=body)
    return json.loads(answer["Body"].read())


def assert_alike(ours, reference):
    assert ours.keys() == reference.keys() == {"sequence", "labels", "scores"}
    assert (ours["sequence"], ours["labels"]) == (reference["sequence"], reference["labels"])
    np.testing.assert_allclose(ours["scores"], reference["scores"], atol=1e-5)


QUESTIONS = [
    (TEXT, {"candidate_labels": LABELS}),
    (TEXT, {"candidate_labels": "sports, politics ,cooking,", "multi_label": True}),
    ([TEXT, "Prices rose."], {"candidate_labels": LABELS, "hypothesis_template": "Dies ist {}."}),
    ([TEXT], {"candidate_labels": ["sports"]}),
    ("word " * 10_000, {"candidate_labels": ["Küche 🍳", "sports"]}),
]


@pytest.fixture(scope="module")
def reference():
    return archives.pipeline("zero-shot-classification", archives.nli_checkpoint())


@pytest.mark.parametrize(("inputs", "parameters"), QUESTIONS, ids=["one", "multi", "several", "one label", "long"])
def test_zero_shot_answers_as_transformers_do(predict, reference, inputs, parameters):
    ours = predict({"inputs": inputs, "parameters": parameters}, ZERO_SHOT)
    expected = reference(inputs, **parameters)
    assert isinstance(ours, list) == isinstance(expected, list)
    pairs = zip(ours, expected, strict=True) if isinstance(ours, list) else [(ours, expected)]
    for one, other in pairs:
        assert_alike(one, other)


def test_a_thousand_labels(runtime, reference):
    labels = [f"label number {number}" for number in range(1000)]
    parameters = {"candidate_labels": labels, "multi_label": True}
    ours = invoke(runtime, ZERO_SHOT, {"inputs": TEXT, "parameters": parameters})
    assert sorted(ours["labels"]) == sorted(labels)
    assert ours["scores"] == sorted(ours["scores"], reverse=True)
    found = dict(zip(ours["labels"], ours["scores"], strict=True))
    some = reference(TEXT, labels[::50], multi_label=True)  # each label stands for itself, so some are enough
    assert {label: found[label] for label in some["labels"]} == pytest.approx(
        dict(zip(some["labels"], some["scores"], strict=True)), abs=1e-5
    )


def test_many_callers_at_once_get_their_own_answers(server, reference):
    asked = [(f"{TEXT} {number}", [f"topic {each}" for each in range(1 + number % 4)]) for number in range(24)]
    asked[7] = ("broken", ["x " * 500])

    def ask(question):
        body = {"inputs": question[0], "parameters": {"candidate_labels": question[1]}}
        headers = {"X-Amzn-SageMaker-Target-Model": ZERO_SHOT}
        return requests.post(f"{server.base_url}/invocations", json=body, headers=headers, timeout=120)

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, asked))
    assert [answer.status_code for answer in answers] == [400 if number == 7 else 200 for number in range(24)]
    for number in (0, 5, 23):
        assert_alike(answers[number].json(), reference(*asked[number]))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"inputs": TEXT}, "'candidate_labels' is missing"),
        ({"inputs": TEXT, "parameters": {"candidate_labels": []}}, "send at least one label"),
        ({"inputs": TEXT, "parameters": {"candidate_labels": LABELS, "hypothesis_template": "x"}}, "has no {}"),
        ({"inputs": TEXT, "parameters": {"candidate_labels": LABELS * 700}}, "2100 labels; at most 2048"),
        ({"inputs": [TEXT] * 33, "parameters": {"candidate_labels": LABELS}}, "takes at most 32"),
        ({"inputs": TEXT, "parameters": {"candidate_labels": ["word " * 200]}}, "leaves no room for the text"),
    ],
)
def test_what_is_wrong_is_a_clear_400(runtime, document, message):
    with pytest.raises(ClientError) as caught:
        invoke(runtime, ZERO_SHOT, document)
    assert caught.value.response["OriginalStatusCode"] == 400
    assert message in caught.value.response["OriginalMessage"]


def test_a_bare_text_is_a_415_with_advice(runtime):
    with pytest.raises(ClientError) as caught:
        invoke(runtime, ZERO_SHOT, b"a text", "text/plain")
    assert caught.value.response["OriginalStatusCode"] == 415
    assert "candidate_labels" in caught.value.response["OriginalMessage"]


def test_triton_s_client_gets_the_scores_in_the_order_of_the_labels(server, reference):
    inputs = []
    for name, rows in (("TEXT", [[TEXT], ["Prices rose."]]), ("LABELS", [LABELS, LABELS[::-1]])):
        array = np.array([[cell.encode() for cell in row] for row in rows], dtype=np.object_)
        inputs.append(triton.InferInput(name, list(array.shape), "BYTES"))
        inputs[-1].set_data_from_numpy(array)
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        scores = client.infer(ZERO_SHOT, inputs).as_numpy("SCORES")
    for text, labels, row in ((TEXT, LABELS, scores[0]), ("Prices rose.", LABELS[::-1], scores[1])):
        expected = reference(text, labels)
        np.testing.assert_allclose(
            row, [expected["scores"][expected["labels"].index(each)] for each in labels], atol=1e-5
        )


@pytest.mark.parametrize("parameters", [{}, {"top_k": 2}, {"top_k": None}, {"function_to_apply": "sigmoid"}])
@pytest.mark.parametrize("inputs", ["What a wonderful film", ["What a wonderful film", "a"]], ids=["one", "several"])
def test_text_classification_answers_as_transformers_do(predict, parameters, inputs):
    reference = archives.pipeline("text-classification", archives.checkpoint("roberta", archives.MOODS))
    ours = predict({"inputs": inputs, "parameters": parameters}, MOODS)
    expected = reference(inputs, **parameters)
    assert _labels(ours) == _labels(expected)
    np.testing.assert_allclose(_scores(ours), _scores(expected), atol=1e-5)


def _labels(answer):
    return [_labels(each) for each in answer] if isinstance(answer, list) else answer["label"]


def _scores(answer):
    return [_scores(each) for each in answer] if isinstance(answer, list) else answer["score"]


def test_plain_text_and_a_very_long_one(runtime):
    (short,) = invoke(runtime, MOODS, b"What a wonderful film", "text/plain")
    assert short["label"] in archives.MOODS
    assert invoke(runtime, MOODS, b"word " * 10_000, "text/plain")[0]["label"] in archives.MOODS


def test_a_cascade_answers_as_its_stages_do(predict):
    first = archives.pipeline("text-classification", archives.checkpoint("bart", archives.SPAM, seed=3))
    second = archives.pipeline("text-classification", archives.checkpoint("deberta", archives.TRICKS))
    texts = [
        "The match was lost.",
        "Prices of oil rose again.",
        "Please return the parcel.",
        "a",
        "The waiter was rude",
    ]
    expected = [
        second(text)[0] if top["label"] == "spam" else top for text, top in zip(texts, first(texts), strict=True)
    ]
    assert len({each["label"] in archives.TRICKS for each in expected}) == 2, "both stages should have the last word"
    ours = predict({"inputs": texts}, SPAM)
    assert _labels(ours) == _labels(expected)
    np.testing.assert_allclose(_scores(ours), _scores(expected), atol=1e-5)
