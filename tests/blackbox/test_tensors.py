"""Sections 4.1 to 4.3: the wire format. JSON and binary tensors, raw requests, classification."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.blackbox.archives import LABELS
from tests.blackbox.client import BINARY, ONES, framed, kserve, outputs, tensor
from tests.blackbox.steps import EVERY_TYPE
from tests.fakes.repositories import linear_weights

VALUES = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "INT8": [-128, 127],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**53 + 1],
    "FP32": [0.5, -1.25],
    "FP64": [0.1, 1e300],
    "BYTES": ["", 'ä "quoted" \n text'],
}
VECTOR = [1.0, 2.0, 3.0]
RAW = np.array(VECTOR, dtype="<f4").tobytes()
ANSWER = linear_weights().sum(axis=0).tolist()


def parts(answer) -> tuple[dict[str, Any], bytes]:
    """JSON and tail of a binary answer."""
    kind, _, size = answer.headers["Content-Type"].partition(";json-header-size=")
    assert (answer.status_code, kind) == (200, BINARY), answer.text
    return json.loads(answer.content[: int(size)]), answer.content[int(size) :]


def every_type():
    return kserve(*(tensor(data, [len(data)], kind, f"IN_{kind}") for kind, data in VALUES.items()))


def vector(data=None, shape=(3,), **more):
    return {**kserve(tensor(VECTOR, shape)), **more} if data is None else {**kserve(tensor(data, shape)), **more}


def as_binary(size=12, **more):
    """A document whose one input lies behind it."""
    entry = {"name": "INPUT0", "shape": [3], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    return {"inputs": [entry], **more}


BINARY_OUT = {"outputs": [{"name": "OUTPUT0", "parameters": {"binary_data": True}}]}


# --- JSON -----------------------------------------------------------------------------------------------------------


def test_every_datatype_travels_as_json_exactly(multi):
    answer = multi.ask("typed.tar.gz", every_type())
    assert outputs(answer) == {f"OUT_{kind}": data for kind, data in VALUES.items()}
    assert {each["name"]: (each["datatype"], each["shape"]) for each in answer.json()["outputs"]} == {
        f"OUT_{kind}": (kind, [2]) for kind in EVERY_TYPE
    }


def test_an_answer_says_id_name_version_and_outputs_in_this_order(multi):
    answer = multi.ask("linear.tar.gz", {"id": "mine", **ONES})
    document = answer.json()
    assert answer.headers["Content-Type"] == "application/json"
    assert [key for key in document if key != "parameters"] == ["id", "model_name", "model_version", "outputs"]
    assert (document["id"], document["model_name"], document["model_version"]) == ("mine", "linear.tar.gz", "1")
    assert "id" not in multi.ask("linear.tar.gz").json()


@pytest.mark.parametrize(
    "data", [[1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0], [[1.0] * 4, [2.0] * 4]], ids=["flat", "nested"]
)
def test_data_may_be_flat_or_nested(multi, data):
    answer = multi.ask("linear.tar.gz", kserve({**tensor([], [2, 4]), "data": data}))
    assert outputs(answer)["OUTPUT0"] == pytest.approx([*ANSWER, *(2 * each for each in ANSWER)], rel=1e-5)
    assert answer.json()["outputs"][0]["shape"] == [2, 2]


def test_only_listed_outputs_come_back(multi):
    answer = multi.ask("typed.tar.gz", {**every_type(), "outputs": [{"name": "OUT_FP64"}, {"name": "OUT_BOOL"}]})
    assert set(outputs(answer)) == {"OUT_FP64", "OUT_BOOL"}


@pytest.mark.parametrize("shape", [[0]])
def test_tensors_without_elements_are_fine(multi, shape):
    assert outputs(multi.ask("vector.tar.gz", kserve(tensor([], shape)))) == {"OUTPUT0": []}


def test_answers_are_json_also_where_floats_are_not_numbers(multi):
    document = json.dumps(vector([float("nan"), float("inf"), -float("inf")]))
    answer = multi.ask("vector.tar.gz", data=document)
    assert answer.status_code == 200
    loaded = json.loads(answer.text, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert len(loaded["outputs"][0]["data"]) == 3


def test_request_parameters_reach_the_model(multi):
    document = {**kserve(tensor(["parameters"], [1], "BYTES")), "parameters": {"who": "me", "n": 3, "on": True}}
    told = json.loads(outputs(multi.ask("moody.tar.gz", document))["OUTPUT0"][0].replace("'", '"'))
    told = json.loads(told) if isinstance(told, str) else told
    assert {key: told[key] for key in ("who", "n", "on")} == {"who": "me", "n": 3, "on": True}


# --- binary ---------------------------------------------------------------------------------------------------------


def test_binary_in_and_out(multi):
    document, tail = parts(multi.ask("vector.tar.gz", **framed(as_binary(**BINARY_OUT), RAW)))
    assert tail == RAW
    [output] = document["outputs"]
    assert (output["parameters"], "data" in output) == ({"binary_data_size": len(RAW)}, False)


def test_a_binary_answer_says_id_name_version_and_outputs_in_this_order(multi):
    document, _ = parts(multi.ask("vector.tar.gz", **framed(as_binary(id="mine", **BINARY_OUT), RAW)))
    assert [key for key in document if key != "parameters"] == ["id", "model_name", "model_version", "outputs"]
    assert (document["id"], document["model_name"], document["model_version"]) == ("mine", "vector.tar.gz", "1")


def test_a_model_s_error_is_the_same_for_json_and_binary_requests(multi):
    words = b"\5\0\0\0error"
    entry = {"name": "INPUT0", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(words)}}
    binary = multi.ask("moody.tar.gz", **framed({"inputs": [entry], **BINARY_OUT}, words))
    plain = multi.ask("moody.tar.gz", kserve(tensor(["error"], [1], "BYTES")))
    assert (binary.status_code, binary.text) == (plain.status_code, plain.text)
    assert plain.status_code >= 400


def test_binary_in_and_json_out(multi):
    assert outputs(multi.ask("vector.tar.gz", **framed(as_binary(), RAW))) == {"OUTPUT0": VECTOR}


def test_json_in_and_binary_out(multi):
    assert parts(multi.ask("vector.tar.gz", vector(**BINARY_OUT)))[1] == RAW


def test_binary_out_for_all_outputs_that_are_not_listed(multi):
    wish = {"parameters": {"binary_data_output": True}}
    assert parts(multi.ask("vector.tar.gz", vector(**wish)))[1] == RAW
    assert outputs(multi.ask("vector.tar.gz", vector(outputs=[{"name": "OUTPUT0"}], **wish)))["OUTPUT0"] == VECTOR


def test_json_and_binary_are_mixed_tensor_by_tensor(multi):
    document = every_type()
    raw = np.array(VALUES["INT32"], dtype="<i4").tobytes()
    for entry in document["inputs"]:
        if entry["name"] == "IN_INT32":
            del entry["data"]
            entry["parameters"] = {"binary_data_size": len(raw)}
    document["outputs"] = [{"name": "OUT_BOOL"}, {"name": "OUT_INT32", "parameters": {"binary_data": True}}]
    head, tail = parts(multi.ask("typed.tar.gz", **framed(document, raw)))
    assert tail == raw
    assert next(each for each in head["outputs"] if each["name"] == "OUT_BOOL")["data"] == VALUES["BOOL"]


def test_half_floats_and_bytes_travel_as_binary(multi):
    half = np.array([0.5, -2.0], dtype="<f2").tobytes()
    entry = {"name": "INPUT0", "shape": [2], "datatype": "FP16", "parameters": {"binary_data_size": 4}}
    assert parts(multi.ask("half.tar.gz", **framed({"inputs": [entry], **BINARY_OUT}, half)))[1] == half
    words = b"".join(len(word).to_bytes(4, "little") + word for word in (b"", b"\xff\x00", b"three"))
    entry = {"name": "INPUT0", "shape": [3], "datatype": "BYTES", "parameters": {"binary_data_size": len(words)}}
    assert parts(multi.ask("words.tar.gz", **framed({"inputs": [entry], **BINARY_OUT}, words)))[1] == words


def test_a_binary_output_without_bytes_is_answered_as_json(multi):
    answer = multi.ask("vector.tar.gz", kserve(tensor([], [0]), **BINARY_OUT))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")


def test_a_raw_request_is_the_only_input_and_comes_back_binary(multi):
    raw = {"Content-Type": f"{BINARY};json-header-size=0"}
    document, tail = parts(multi.ask("vector.tar.gz", data=RAW, headers=raw))
    assert (tail, document["outputs"][0]["shape"]) == (RAW, [3])


def test_an_empty_body_is_a_raw_request(multi):
    answer = multi.ask("vector.tar.gz", data=b"")
    assert answer.status_code == 200
    assert answer.json()["outputs"][0]["shape"] == [0]


class Size(NamedTuple):
    """A `json-header-size`, and the statuses that are right. `{n}` is the true size."""

    says: str
    value: str
    statuses: tuple[int, ...]
    parameter: str = ";json-header-size="


SIZES = [
    Size("true", "{n}", (200,)),
    Size("blanks around it", " {n} ", (200,)),
    Size("another parameter behind it", "{n}; charset=utf-8", (200,)),
    Size("negative", "-1", (400,)),
    Size("longer than the body", "100000", (400,)),
    Size("no number", "many", (400,)),
    Size("empty", "", (400,)),
    Size("2^31", str(2**31), (400,)),
    Size("2^32, which must not wrap to 0", str(2**32), (400,)),
    Size("2^64", str(2**64), (400,)),
    Size("too small for the JSON", "10", (400,)),
    Size("too large for the JSON", "{n_plus_1}", (400,)),
    Size("not at the start", "{n}", (400,), "x"),
    Size("missing", "", (400,), ""),
]


@pytest.mark.parametrize("route", ["/invocations", "/models/vector.tar.gz/invoke"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.says)
def test_the_size_of_the_json_part(multi, size, route):
    head = json.dumps(as_binary()).encode()
    value = size.value.format(n=len(head), n_plus_1=len(head) + 1)
    kind = {"x": f"x/{BINARY};json-header-size={value}"}.get(size.parameter, f"{BINARY}{size.parameter}{value}")
    headers = {"Content-Type": kind, "X-Amzn-SageMaker-Target-Model": "vector.tar.gz"}
    answer = multi.call("POST", route, headers, data=head + RAW)
    assert answer.status_code in size.statuses, answer.text
    if answer.status_code == 200:
        assert outputs(answer) == {"OUTPUT0": VECTOR}


# --- classification -------------------------------------------------------------------------------------------------


def ranked(count, **more):
    return {**ONES, "outputs": [{"name": "OUTPUT0", "parameters": {"classification": count, **more}}]}


@pytest.mark.parametrize(("wanted", "kept"), [(1, 1), (2, 2), (9, 3)])
def test_classification_ranks_with_labels(multi, wanted, kept):
    answer = multi.ask("labelled.tar.gz", ranked(wanted))
    [output] = answer.json()["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [1, kept])
    scores = linear_weights(outputs=3).sum(axis=0)
    order = np.argsort(-scores)[:kept]
    told = [entry.split(":") for entry in output["data"]]
    assert [(int(index), label) for _, index, label in told] == [(int(index), LABELS[index]) for index in order]
    assert [float(value) for value, _, _ in told] == pytest.approx(scores[order].tolist(), abs=1e-5)
    assert all(len(value.partition(".")[2]) == 6 for value, _, _ in told)


def test_classification_without_labels_without_batch_and_of_integers(multi):
    assert outputs(multi.ask("vector.tar.gz", vector(outputs=ranked(2)["outputs"])))["OUTPUT0"] == [
        "3.000000:2",
        "2.000000:1",
    ]
    wish = [{"name": "OUT_INT32", "parameters": {"classification": 1}}]
    assert outputs(multi.ask("typed.tar.gz", {**every_type(), "outputs": wish})) == {"OUT_INT32": [f"{2**31 - 1}:1"]}


def test_classification_goes_with_binary(multi):
    document, tail = parts(multi.ask("vector.tar.gz", vector(outputs=ranked(1, binary_data=True)["outputs"])))
    assert (document["outputs"][0]["datatype"], tail) == ("BYTES", b"\x0a\0\0\x003.000000:2")


def test_classification_of_zero_is_none(multi):
    assert outputs(multi.ask("vector.tar.gz", vector(outputs=ranked(0)["outputs"]))) == {"OUTPUT0": VECTOR}
