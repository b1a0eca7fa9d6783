"""Section 1 of the contract: routes and methods, in both modes. Quirks of Triton's regular expression are done right."""

from typing import NamedTuple

import pytest

from tests.blackbox.client import ONES, TARGET


class Row(NamedTuple):
    """A request, and the statuses that are right."""

    says: str
    method: str
    path: str
    statuses: tuple[int, ...]
    has_body: bool = False
    target: str = ""


BOTH_MODES = [
    Row("ping", "GET", "/ping", (200,)),
    Row("ping with a query", "GET", "/ping?deep=1", (200,)),
    *(Row(f"ping by {method}", method, "/ping", (405,)) for method in ("POST", "PUT", "OPTIONS", "HEAD")),
    *(Row(f"invocations by {method}", method, "/invocations", (405,)) for method in ("GET", "PUT", "DELETE", "HEAD")),
    Row("LIST", "GET", "/models", (200,)),
    Row("LIST with a slash", "GET", "/models/", (200,)),
    Row("LIST with a query", "GET", "/models?extra=1", (200,)),
    Row("LOAD without a body", "POST", "/models", (400,)),
    Row("GET of nothing", "GET", "/models/0123abc", (404,)),
    Row("UNLOAD of nothing", "DELETE", "/models/0123abc", (404,)),
    Row("INVOKE of nothing", "POST", "/models/0123abc/invoke", (404,), has_body=True),
    Row("INVOKE by GET", "GET", "/models/linear.tar.gz/invoke", (405,)),
    Row("UNLOAD through the invoke route", "DELETE", "/models/linear.tar.gz/invoke", (405,)),
    Row("a name glued to the route", "GET", "/modelslinear.tar.gz", (400, 404)),
    Row("LOAD through a model's route", "POST", "/models/linear.tar.gz", (405,), has_body=True),
    Row("UNLOAD of no name", "DELETE", "/models", (404, 405)),
    *(Row(f"models by {method}", method, "/models", (400, 405)) for method in ("PUT", "PATCH", "HEAD", "OPTIONS")),
    Row("ping with a slash", "GET", "/ping/", (400, 404)),
    Row("execution parameters, which batch transform asks for", "GET", "/execution-parameters", (400, 404)),
    Row("an unknown route", "GET", "/nothing", (400, 404)),
    Row("an unknown target", "POST", "/invocations", (400, 404), has_body=True, target="nowhere.tar.gz"),
]
ONLY_MULTI = [
    Row("invocations without a target", "POST", "/invocations", (400,), has_body=True),
    Row("invocations with a target", "POST", "/invocations", (200,), has_body=True, target="linear.tar.gz"),
    Row("invocations with a query", "POST", "/invocations?a=b", (200,), has_body=True, target="linear.tar.gz"),
    Row("INVOKE", "POST", "/models/linear.tar.gz/invoke", (200,), has_body=True),
    Row("INVOKE with a query", "POST", "/models/linear.tar.gz/invoke?a=b", (200,), has_body=True),
    Row("INVOKE of a name with a slash", "POST", "/models/team/linear.tar.gz/invoke", (200,), has_body=True),
]
ONLY_SINGLE = [
    Row("invocations without a target", "POST", "/invocations", (200,), has_body=True),
    Row("invocations with a query", "POST", "/invocations?a=b", (200,), has_body=True),
]


def check(client, row: Row) -> None:
    """Ask, and look at the status and at the shape of the body."""
    answer = client.call(row.method, row.path, {TARGET: row.target}, json=ONES if row.has_body else None)
    assert answer.status_code in row.statuses, answer.text
    if answer.status_code >= 400 and row.method != "HEAD":
        assert isinstance(answer.json()["error"], str)
        assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("row", [*BOTH_MODES, *ONLY_MULTI], ids=lambda row: row.says)
def test_routes_in_multi_model_mode(multi, row):
    check(multi, row)


@pytest.mark.parametrize("row", [*BOTH_MODES, *ONLY_SINGLE], ids=lambda row: row.says)
def test_routes_in_single_model_mode(single, row):
    check(single, row)


def test_ping_is_empty(multi):
    assert multi.get("/ping").content == b""


def test_a_wrong_method_on_the_invoke_route_unloads_nothing(multi):
    assert multi.invoke("linear.tar.gz").status_code == 200
    multi.call("DELETE", "/models/linear.tar.gz/invoke")
    assert multi.get("/models/linear.tar.gz").json()["modelName"] == "linear.tar.gz"
