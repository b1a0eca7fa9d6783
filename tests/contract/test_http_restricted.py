"""Groups of calls that need a header, on every surface, as Triton's `--http-restricted-api` closes them."""

from dataclasses import replace

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from server.api.app import build_app
from server.api.hot_path import HotPath
from server.api.parts import HttpOptions
from server.api.restricted import Group, group_of, restrictions
from tests.contract.http_fakes import Wiring, fake_server
from tests.contract.test_http_container import TARGET, body

KEY = {"X-Key": "secret"}
CALLS = {
    Group.INFERENCE: (
        ("POST", "/invocations"),
        ("GET", "/invocations"),
        ("POST", "/models/echo.tar.gz/invoke"),
        ("POST", "/endpoints/any/invocations"),
        ("POST", "/endpoints/any/invocations-response-stream"),
        ("POST", "/endpoints/any/async-invocations"),
        ("POST", "/v2/models/echo.tar.gz/infer"),
        ("POST", "/v2/models/team%2Fecho.tar.gz/versions/1/infer"),
        ("POST", "/v2/models/echo.tar.gz/generate"),
    ),
    Group.MODEL_REPOSITORY: (
        ("GET", "/models"),
        ("POST", "/models"),
        ("GET", "/models/echo.tar.gz"),
        ("DELETE", "/models/echo.tar.gz"),
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/repository/models/echo.tar.gz/unload"),
        ("GET", "/admin/residency"),
        ("PUT", "/admin/pin/echo.tar.gz"),
    ),
    Group.HEALTH: (("GET", "/ping"), ("GET", "/v2/health/ready"), ("GET", "/v2/models/echo.tar.gz/ready")),
}
OPEN = (("GET", "/metrics"), ("GET", "/v2"), ("GET", "/v2/models/echo.tar.gz"), ("GET", "/"))
ALL = [(group, *call) for group, calls in CALLS.items() for call in calls]


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """One server for each group, closed by `X-Key: secret`."""
    from contextlib import ExitStack

    with ExitStack() as servers:
        found = {}
        for group in Group:
            wiring = Wiring(tmp_path_factory.mktemp("models"))
            options = HttpOptions(restrictions=restrictions([f"{group}:X-Key=secret"]))
            wiring.parts = replace(wiring.parts, options=options)
            found[group] = servers.enter_context(fake_server(wiring))
        yield found


def call(server, method, path, **headers):
    sent = {TARGET: "echo.tar.gz", **headers}
    data = body() if method == "POST" else None
    return requests.request(method, server.url + path, headers=sent, data=data, timeout=30)


@pytest.mark.parametrize(("group", "method", "path"), ALL)
def test_a_call_of_a_closed_group_needs_the_header(closed, group, method, path):
    refused = call(closed[group], method, path)
    assert refused.status_code == 403
    said = refused.json()
    assert said.get("error", said.get("Message")) == "This API is restricted, expecting header 'X-Key'"
    assert refused.headers["x-request-id"]
    assert call(closed[group], method, path, **KEY).status_code != 403


@pytest.mark.parametrize(("group", "method", "path"), ALL)
def test_the_other_groups_stay_open(closed, group, method, path):
    others = [server for other, server in closed.items() if other is not group]
    assert [call(server, method, path).status_code for server in others].count(403) == 0


@pytest.mark.parametrize(("method", "path"), OPEN)
def test_what_is_in_no_group_is_open(closed, method, path):
    assert {call(server, method, path).status_code for server in closed.values()} == {200}


@pytest.mark.parametrize("value", ["", "Secret", "secre", "secret2", "\u00e9"])
def test_any_other_value_does_not_open(closed, value):
    assert call(closed[Group.HEALTH], "GET", "/ping", **{"X-Key": value.encode()}).status_code == 403


def test_the_headers_name_has_no_case(closed):
    assert call(closed[Group.HEALTH], "GET", "/ping", **{"x-kEY": "secret"}).status_code == 200


def test_boto3_is_told_in_its_own_way(closed):
    runtime = boto3.client(
        "sagemaker-runtime",
        endpoint_url=closed[Group.INFERENCE].url,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"max_attempts": 0}),
    )
    with pytest.raises(ClientError) as refused:
        runtime.invoke_endpoint(EndpointName="any", TargetModel="echo.tar.gz", Body=body())
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert "X-Key" in refused.value.response["Error"]["Message"]


def test_where_nothing_is_restricted_nothing_stands_before_the_hot_path(tmp_path):
    assert type(build_app(Wiring(tmp_path).parts)) is HotPath


def test_a_name_cannot_hide_a_call():
    assert group_of("POST", "/models/../v2/health/live/invoke") is Group.INFERENCE
    assert group_of("GET", "/models/ping") is Group.MODEL_REPOSITORY
    assert group_of("POST", "/v2/models/ready/infer") is Group.INFERENCE


def test_several_groups_may_have_one_header_and_others_another():
    found = restrictions(["inference, health:X-Key=a=b:c", "model-repository:Other=1"])
    assert {group: (each.header, each.value) for group, each in found.items()} == {
        Group.INFERENCE: ("X-Key", b"a=b:c"),
        Group.HEALTH: ("X-Key", b"a=b:c"),
        Group.MODEL_REPOSITORY: ("Other", b"1"),
    }


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("inference", "write GROUP"),
        ("inference:X-Key", "write GROUP"),
        ("inference:=hidden", "write GROUP"),
        ("inference:X-Key=", "write GROUP"),
        ("statistics:X-Key=hidden", "there are the groups inference, model-repository, health"),
        ("inference,inference:X-Key=hidden", "has two"),
    ],
)
def test_what_cannot_be_read_is_named_without_the_secret(written, words):
    with pytest.raises(ValueError, match=words) as refused:
        restrictions([written])
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [(None, "application/vnd.sagemaker-triton"), ("*/*", "application/vnd"), ("application/json", "application/json")],
)
def test_a_default_accept_speaks_for_those_who_send_none(tmp_path, accept, content_type):
    wiring = Wiring(tmp_path)
    options = HttpOptions(default_accept="application/vnd.sagemaker-triton.binary+json")
    wiring.parts = replace(wiring.parts, options=options)
    with fake_server(wiring) as server:
        answer = call(server, "POST", "/invocations", Accept=accept)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(content_type)


def test_a_default_accept_that_cannot_be_written_is_no_error(tmp_path):
    wiring = Wiring(tmp_path)
    wiring.parts = replace(wiring.parts, options=HttpOptions(default_accept="text/csv"))
    with fake_server(wiring) as server:
        assert call(server, "POST", "/invocations", Accept=None).headers["content-type"] == "application/json"
