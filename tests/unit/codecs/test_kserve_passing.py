"""What passes is answered as if it had been decoded; whatever else a caller can think of is decoded."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.codecs.kserve.kserve_passing import MOST_HEAD_BYTES, passing
from server.domain.errors import InferenceFailed
from server.domain.inference import NUMPY_BY_DATATYPE, InferenceResponse, Tensor
from server.domain.payload import FramedAnswer, Payload
from tests.unit.codecs.codec_archives import SAGEMAKER, archive, ask

TYPES = sorted(set(NUMPY_BY_DATATYPE) - {"BOOL"})
ALL = {"binary_data_output": True}


def raw(datatype, count):
    if datatype == "BYTES":
        return b"\2\0\0\0hi" * count
    return bytes(range(count * NUMPY_BY_DATATYPE[datatype].itemsize))


def entry(name, datatype, shape, data):
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(data)}}


def payload(document, *tails, accept="", framing="kserve"):
    head = json.dumps(document).encode()
    if framing == "kserve":
        return Payload(head + b"".join(tails), "application/octet-stream", accept, len(head))
    return Payload(head + b"".join(tails), f"{SAGEMAKER};json-header-size={len(head)}", accept)


def echoed(sent, kinds, identity=""):
    """Triton's answer of a model that gives input Xi back as output Yi; in the order of its own."""
    outputs, tails = [], []
    for number, (datatype, shape) in reversed(list(enumerate(kinds))):
        data = sent[f"X{number}"]
        outputs.append(entry(f"Y{number}", datatype, shape, data))
        tails.append(data)
    head = {"id": identity} if identity else {}
    return FramedAnswer({**head, "model_name": "rh_1", "model_version": "1", "outputs": outputs}, b"".join(tails))


@given(
    kinds=st.lists(
        st.tuples(st.sampled_from(TYPES), st.lists(st.integers(1, 3), min_size=1, max_size=2)), min_size=1, max_size=3
    ),
    framing=st.sampled_from(["kserve", "sagemaker"]),
    identity=st.sampled_from(["", "mine"]),
    is_listed=st.booleans(),
)
def test_what_passes_is_answered_as_what_is_decoded(kinds, framing, identity, is_listed):
    target = archive(
        [(f"X{number}", datatype, (-1,) * len(shape)) for number, (datatype, shape) in enumerate(kinds)],
        [(f"Y{number}", datatype, (-1,) * len(shape)) for number, (datatype, shape) in enumerate(kinds)],
    )
    sent = {f"X{number}": raw(datatype, int(np.prod(shape))) for number, (datatype, shape) in enumerate(kinds)}
    document = {"inputs": [entry(f"X{n}", *kind, sent[f"X{n}"]) for n, kind in enumerate(kinds)]}
    if identity:
        document["id"] = identity
    if is_listed:
        names = [f"Y{number}" for number in range(len(kinds))]
        document["outputs"] = [{"name": name, "parameters": {"binary_data": True}} for name in names[::-1]]
    else:
        document["parameters"] = ALL
    asked = payload(document, *sent.values(), framing=framing)

    passed = passing(asked, target)
    assert passed is not None
    assert json.loads(passed.request.head) == document
    assert asked.body.endswith(bytes(passed.request.tail))
    answer = passed.encode(echoed(sent, kinds, identity), target.name)

    decoded = ask(target, asked.body, asked.content_type, "", asked.json_header_size)
    given_back = tuple(
        Tensor(tensor.name.replace("X", "Y"), tensor.datatype, tensor.data)
        for tensor in decoded.request.inputs.values()
    )
    usual = decoded.encode(InferenceResponse(given_back), target.name)
    assert (answer.content_type, dict(answer.headers)) == (usual.content_type, dict(usual.headers))
    assert b"".join(map(bytes, answer.body)) == b"".join(map(bytes, usual.body))


TARGET = archive([("X", "FP32", (2,)), ("B", "BOOL", (1,), True)], [("Y", "FP32", (2,))], batch=4)
DATA = bytes(8)
GOOD = {"inputs": [entry("X", "FP32", [1, 2], DATA)], "parameters": ALL}


def changed(**more):
    return {"inputs": [{**GOOD["inputs"][0], **more}], "parameters": ALL}


def test_the_good_one_passes():
    assert passing(payload(GOOD, DATA), TARGET) is not None


NOT_SIMPLE = [
    [],
    {},
    {"parameters": ALL},
    {**GOOD, "inputs": []},
    {**GOOD, "inputs": [3]},
    {**GOOD, "inputs": GOOD["inputs"] * 2},
    {**GOOD, "inputs": [entry("X", "FP32", [1, 2], DATA), entry("B", "BOOL", [1, 1], b"")]},
    {**GOOD, "id": 7},
    {**GOOD, "more": 1},
    {**GOOD, "parameters": {**ALL, "priority": 1}},
    {**GOOD, "parameters": {"binary_data_output": False}},
    {**GOOD, "parameters": {"binary_data_output": 1}},
    {**GOOD, "parameters": {"triton_final_response": True}},
    {**GOOD, "parameters": [1]},
    {"inputs": GOOD["inputs"]},
    {**GOOD, "outputs": [{"name": "Y"}]},
    {**GOOD, "outputs": [{"name": "Y", "parameters": {"binary_data": False}}]},
    {**GOOD, "outputs": [{"name": "Y", "parameters": {"binary_data": True, "classification": 1}}]},
    {**GOOD, "outputs": [{"name": "Y", "parameters": {"shared_memory_region": "r"}}]},
    {**GOOD, "outputs": [{"name": "N", "parameters": {"binary_data": True}}]},
    {**GOOD, "outputs": [{"name": ["Y"], "parameters": {"binary_data": True}}]},
    {**GOOD, "outputs": [{"name": "Y", "parameters": {"binary_data": True}}] * 2},
    {**GOOD, "outputs": {"name": "Y"}},
    changed(name="N"),
    changed(name=["X"]),
    changed(datatype="INT32"),
    changed(shape=[1, 3]),
    changed(shape=[5, 2]),
    changed(shape=[0, 2]),
    changed(shape=[2]),
    changed(shape=[True, 2]),
    changed(shape="12"),
    changed(data=[1.0, 2.0]),
    changed(parameters={}),
    changed(parameters={"binary_data_size": 4}),
    changed(parameters={"binary_data_size": True}),
    changed(parameters={"binary_data_size": 8, "shared_memory_region": "r"}),
    changed(parameters={"shared_memory_region": "r"}),
]


@pytest.mark.parametrize("document", NOT_SIMPLE, ids=map(str, range(len(NOT_SIMPLE))))
def test_everything_else_is_decoded(document):
    assert passing(payload(document, DATA), TARGET) is None


def test_of_two_equal_keys_only_the_one_that_was_checked_goes_on():
    head = json.dumps(GOOD)
    shared = json.dumps(changed(parameters={"shared_memory_region": "r"})["inputs"])
    twice = f'{{"inputs": {shared}, {head[1:]}'.encode()
    passed = passing(Payload(twice + DATA, "application/octet-stream", "", len(twice)), TARGET)
    assert passed is not None
    assert b"shared" not in passed.request.head


@pytest.mark.parametrize(
    "asked",
    [
        Payload(json.dumps(GOOD).encode(), "application/json"),
        payload(GOOD, DATA, accept="application/json"),
        payload(GOOD, DATA + b"more"),
        payload({**GOOD, "id": "x" * MOST_HEAD_BYTES}, DATA),
        Payload(b"{" + DATA, "application/octet-stream", "", 1),
        Payload(DATA, "application/octet-stream", "", 0),
        Payload(DATA, "application/octet-stream", "", 99),
        Payload(DATA, f"{SAGEMAKER};json-header-size=x"),
        Payload(DATA, SAGEMAKER),
        Payload(payload(GOOD, DATA).body, "", "", len(json.dumps(GOOD)), is_generate=True),
        Payload(payload(GOOD, DATA).body, "", "", len(json.dumps(GOOD)), parameters={"session_id": "a"}),
    ],
    ids=[
        "json",
        "accept",
        "too long",
        "large head",
        "cut",
        "raw",
        "beyond",
        "no number",
        "no size",
        "generate",
        "told",
    ],
)
def test_bodies_that_are_not_plain_binary_requests_are_decoded(asked):
    assert passing(asked, TARGET) is None


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [entry("Y", "FP32", [1, 2], bytes(80))],
        [{"name": "Y", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}],
    ],
    ids=["missing", "cut off", "not binary"],
)
def test_an_answer_that_is_not_what_was_asked_for_is_the_model_s_failure(outputs):
    passed = passing(payload(GOOD, DATA), TARGET)
    assert passed is not None
    with pytest.raises(InferenceFailed):
        passed.encode(FramedAnswer({"outputs": outputs}, DATA), "m")


def test_an_output_without_elements_needs_no_binary_answer():
    passed = passing(payload(GOOD, DATA), TARGET)
    assert passed is not None
    empty = {"name": "Y", "datatype": "FP32", "shape": [0, 2], "data": []}
    answer = passed.encode(FramedAnswer({"outputs": [empty], "parameters": {"own": 1}}, b""), "m")
    assert answer.content_type == "application/json"
    document = json.loads(b"".join(map(bytes, answer.body)))
    assert document["parameters"] == {"own": 1}
    assert document["outputs"][0]["parameters"] == {"binary_data_size": 0}
