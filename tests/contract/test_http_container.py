"""The SageMaker container contract, row by row, over real HTTP."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import pytest
import requests

TARGET = "X-Amzn-SageMaker-Target-Model"
BINARY = "application/vnd.sagemaker-triton.binary+json"


def body(values=(1.0, 2.0)):
    entry = {"name": "INPUT0", "shape": [len(values)], "datatype": "FP32", "data": list(values)}
    return json.dumps({"inputs": [entry]})


class Row(NamedTuple):
    """One request to a multi-model server, and the status of its answer."""

    says: str
    method: str
    path: str
    status: int
    headers: Mapping[str, str] = MappingProxyType({})
    data: str | bytes = b""


ROWS = [
    Row("ping", "GET", "/ping", 200),
    Row("ping knows no POST", "POST", "/ping", 405),
    Row("invocations know no GET", "GET", "/invocations", 405),
    Row("invoke knows no GET", "GET", "/models/echo.tar.gz/invoke", 405),
    Row("models know no PUT", "PUT", "/models", 405),
    Row("there is no such route", "GET", "/nothing", 404),
    Row("a trailing slash is another route", "GET", "/ping/", 404),
    Row("query strings are ignored", "GET", "/ping?deep=1", 200),
    Row("no target, no default model", "POST", "/invocations", 400, {}, body()),
    Row("target of the store", "POST", "/invocations", 200, {TARGET: "echo.tar.gz"}, body()),
    Row("target with a leading slash", "POST", "/invocations", 200, {TARGET: "/team/echo.tar.gz"}, body()),
    Row("target with blanks and quotes", "POST", "/invocations", 200, {TARGET: "big name's.tar.gz"}, body()),
    Row("unknown target", "POST", "/invocations", 404, {TARGET: "nowhere.tar.gz"}, body()),
    Row("target that escapes", "POST", "/invocations", 404, {TARGET: "../../etc/passwd"}, body()),
    Row("target that fires a shell", "POST", "/invocations", 404, {TARGET: "a$(touch F).tar.gz"}, body()),
    Row("unknown id", "POST", "/models/0123abc/invoke", 404, {}, body()),
    Row("unknown id, GET", "GET", "/models/0123abc", 404),
    Row("unknown id, DELETE", "DELETE", "/models/0123abc", 404),
    Row("archive of the store by its name", "POST", "/models/echo.tar.gz/invoke", 200, {}, body()),
    Row("name with an encoded slash", "POST", "/models/team%2Fecho.tar.gz/invoke", 200, {}, body()),
    Row("name with a slash", "POST", "/models/team/echo.tar.gz/invoke", 200, {}, body()),
    Row("header and path disagree", "POST", "/models/echo.tar.gz/invoke", 404, {TARGET: "other.tar.gz"}, body()),
    Row("header and path agree", "POST", "/models/echo.tar.gz/invoke", 200, {TARGET: "echo.tar.gz"}, body()),
    Row("body that is not JSON", "POST", "/models/echo.tar.gz/invoke", 400, {}, "{nonsense"),
    Row("body that is not UTF-8", "POST", "/models/echo.tar.gz/invoke", 400, {}, b"\xff\xfe{"),
    Row("unknown input", "POST", "/models/echo.tar.gz/invoke", 400, {}, body().replace("INPUT0", "WRONG")),
    Row("wrong datatype", "POST", "/models/echo.tar.gz/invoke", 400, {}, body().replace("FP32", "INT8")),
    Row("wrong shape", "POST", "/models/echo.tar.gz/invoke", 400, {}, body().replace("[2]", "[3]")),
    Row(
        "JSON size that is no number",
        "POST",
        "/models/echo.tar.gz/invoke",
        400,
        {"Content-Type": f"{BINARY};json-header-size=x"},
        body(),
    ),
    Row(
        "JSON size beyond the body",
        "POST",
        "/models/echo.tar.gz/invoke",
        400,
        {"Content-Type": f"{BINARY};json-header-size=9999"},
        body(),
    ),
    Row("broken gzip", "POST", "/models/echo.tar.gz/invoke", 400, {"Content-Encoding": "gzip"}, "no gzip"),
    Row("unknown encoding", "POST", "/models/echo.tar.gz/invoke", 415, {"Content-Encoding": "br"}, body()),
    Row("the model raises, multi", "POST", "/models/raises.tar.gz/invoke", 400, {}, body()),
    Row("the model raises, single", "POST", "/invocations", 500, {TARGET: "raises.tar.gz"}, body()),
    Row("the engine keeps dying", "POST", "/models/loses.tar.gz/invoke", 503, {}, body()),
    Row("a bug", "POST", "/models/crashes.tar.gz/invoke", 500, {}, body()),
    Row("corrupt archive", "POST", "/models/corrupt.tar.gz/invoke", 400, {}, body()),
    Row("store does not answer", "POST", "/models/unreachable.tar.gz/invoke", 503, {}, body()),
    Row("archive larger than the device", "POST", "/models/huge.tar.gz/invoke", 507, {}, body()),
    Row("device out of memory", "POST", "/models/oom.tar.gz/invoke", 507, {}, body()),
    Row("a name with OOM in it is no 507", "POST", "/models/BLOOM.tar.gz/invoke", 400, {}, body()),
    Row("LOAD without a body", "POST", "/models", 400),
    Row("LOAD of nonsense", "POST", "/models", 400, {}, "{nonsense"),
    Row("LOAD of a list", "POST", "/models", 400, {}, "[]"),
    Row("LOAD without url", "POST", "/models", 400, {}, '{"model_name": "a"}'),
    Row("LOAD with an empty name", "POST", "/models", 400, {}, '{"model_name": "", "url": "/x"}'),
    Row("LOAD with a number for a name", "POST", "/models", 400, {}, '{"model_name": 5, "url": "/x"}'),
    Row("LOAD outside the load root", "POST", "/models", 400, {}, '{"model_name": "a", "url": "/etc"}'),
    Row("LIST with a bad token", "GET", "/models?next_page_token=abc", 400),
    Row("no KServe model", "GET", "/v2/models/nowhere", 404),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.says)
def test_each_row_of_the_contract(server, row):
    answer = requests.request(
        row.method, server.url + row.path, headers=row.headers, data=row.data, allow_redirects=False, timeout=30
    )
    assert answer.status_code == row.status, answer.text
    if row.status >= 400:
        assert answer.headers["Content-Type"] == "application/json"
        assert isinstance(answer.json()["error"], str)


def test_ping_has_an_empty_body(server):
    assert requests.get(f"{server.url}/ping", timeout=5).content == b""


def test_ping_says_503_until_the_server_is_ready(start):
    server = start(is_ready=False)
    assert requests.get(f"{server.url}/ping", timeout=5).status_code == 503
    server.wiring.is_ready = True
    assert requests.get(f"{server.url}/ping", timeout=5).status_code == 200


def test_bugs_show_nothing_of_the_host(server):
    answer = requests.post(f"{server.url}/models/crashes.tar.gz/invoke", data=body(), timeout=5)
    assert "secret" not in answer.text
    assert "request id" in answer.json()["error"]


def test_an_answer_names_the_archive_and_says_how_warm_it_was(start):
    server = start()
    cold = requests.post(f"{server.url}/invocations", data=body(), headers={TARGET: "echo.tar.gz"}, timeout=5)
    warm = requests.post(f"{server.url}/invocations", data=body(), headers={TARGET: "echo.tar.gz"}, timeout=5)
    assert cold.json()["model_name"] == "echo.tar.gz"
    assert cold.json()["outputs"][0]["data"] == [1.0, 2.0]
    assert cold.headers["x-roundhouse-warmth"] == "disk"
    assert float(cold.headers["x-roundhouse-load-ms"]) >= 0
    assert (warm.headers["x-roundhouse-warmth"], warm.headers["x-roundhouse-load-ms"]) == ("resident", "0.000")


def test_a_cold_answer_says_where_its_time_went(start):
    server = start()
    cold = requests.post(f"{server.url}/invocations", data=body(), headers={TARGET: "echo.tar.gz"}, timeout=5)
    warm = requests.post(f"{server.url}/invocations", data=body(), headers={TARGET: "echo.tar.gz"}, timeout=5)
    phases = [entry.split(";")[0] for entry in cold.headers["server-timing"].split(", ")]
    assert phases == ["wait", "load", "step", "infer"]
    assert "server-timing" not in warm.headers
    page = requests.get(f"{server.url}/metrics", timeout=5).text
    assert 'roundhouse_cold_start_seconds_count{phase="load"} 1.0' in page
    (resident,) = requests.get(f"{server.url}/admin/residency", timeout=5).json()["residents"]
    assert [step["name"] for step in resident["cold_start"]["steps"]] == ["echo.tar.gz"]


def test_a_default_model_answers_invocations_without_a_target(single):
    answer = requests.post(f"{single.url}/invocations", data=body(), timeout=5)
    assert answer.status_code == 200
    assert answer.json()["model_name"] == "echo.tar.gz"


def test_binary_tensors_travel_both_ways(single):
    head = json.dumps(
        {
            "inputs": [{"name": "INPUT0", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}],
            "outputs": [{"name": "INPUT0", "parameters": {"binary_data": True}}],
        }
    ).encode()
    raw = b"\0\0\x80?\0\0\0@"
    answer = requests.post(
        f"{single.url}/invocations",
        data=head + raw,
        headers={"Content-Type": f"{BINARY};json-header-size={len(head)}"},
        timeout=5,
    )
    size = int(answer.headers["Content-Type"].removeprefix(f"{BINARY};json-header-size="))
    assert answer.content[size:] == raw
    assert json.loads(answer.content[:size])["outputs"][0]["parameters"] == {"binary_data_size": 8}


def test_custom_attributes_come_back_verbatim(single):
    attributes = {"X-Amzn-SageMaker-Custom-Attributes": "c=1; trace=a,b"}
    answer = requests.post(f"{single.url}/invocations", data=body(), headers=attributes, timeout=5)
    assert answer.headers["X-Amzn-SageMaker-Custom-Attributes"] == "c=1; trace=a,b"
