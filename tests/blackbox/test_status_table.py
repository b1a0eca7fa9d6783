"""Section 4.6: one row for each cause, with its status on every surface that a caller can meet it on."""

import json
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from tests.blackbox import steps
from tests.blackbox.archives import one
from tests.blackbox.client import BINARY, ONES, kserve, tensor, text
from tests.blackbox.test_runtime import boto, invoke
from tests.fakes.repositories import python_model, write_config
from tests.integration.until import until


class Cause(NamedTuple):
    """A request that fails, and its statuses: `/models/.../invoke`, `/invocations` and `/v2/.../infer`."""

    says: str
    archive: str
    document: Any
    multi: int
    single: int
    kserve: int
    kind: str = "ModelError"
    """What botocore calls it."""
    headers: dict[str, str] = {}  # noqa: RUF012 - read only


def no_backend(folder):
    """A step for a backend that nobody has."""
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.paper").write_text("folded")
    return write_config(folder, f'name: "{folder.name}"', 'backend: "paper"', *steps.NUMBER_IO)


def no_start(folder):
    """A step that cannot begin."""
    return python_model(folder, steps.STARTING.format(start='raise RuntimeError("told on purpose")'), *steps.NUMBER_IO)


BUILT = {"no-backend.tar.gz": no_backend, "no-start.tar.gz": no_start}
RESERVED = {**ONES, "parameters": {"triton_secret": 1}}
CAUSES = [
    Cause("bad tensors", "linear.tar.gz", kserve(tensor([1.0], [1, 1])), 400, 400, 400),
    Cause("bad names", "linear.tar.gz", kserve(tensor([1.0] * 4, name="STRANGER")), 400, 400, 400),
    Cause("a reserved parameter", "linear.tar.gz", RESERVED, 400, 400, 400),
    Cause(
        "a bad header size",
        "linear.tar.gz",
        ONES,
        400,
        400,
        400,
        headers={"Content-Type": f"{BINARY};json-header-size=x"},
    ),
    Cause("malformed JSON", "linear.tar.gz", b"{nonsense", 400, 400, 400),
    Cause("FP16 as JSON", "half.tar.gz", kserve(tensor([1.0], [1], "FP16")), 400, 400, 400),
    Cause(
        "a body that nobody reads", "linear.tar.gz", b"\x89PNG", 415, 415, 415, headers={"Content-Type": "image/png"}
    ),
    Cause("an answer that nobody writes", "linear.tar.gz", ONES, 406, 406, 406, headers={"Accept": "image/png"}),
    Cause("a model that raises", "moody.tar.gz", text("raise"), 400, 500, 500),
    Cause("a model that tells an error", "moody.tar.gz", text("error"), 400, 500, 500),
    Cause("a model without an answer", "counting.tar.gz", text(""), 400, 500, 500),
    Cause("a model out of memory", "moody.tar.gz", text("oom"), 507, 507, 507),
    Cause("an archive that does not fit", "too-large.tar.gz", ONES, 507, 507, 507),
    Cause("an unknown archive", "nowhere.tar.gz", ONES, 404, 404, 404, "ValidationError"),
    Cause("an unknown archive that sounds like memory", "OOM.tar.gz", ONES, 404, 404, 404, "ValidationError"),
    Cause("a backend that is not there", "no-backend.tar.gz", ONES, 400, 501, 400),
    Cause("a step that cannot begin", "no-start.tar.gz", ONES, 400, 500, 400),
]


@pytest.fixture(scope="module")
def full(multi):
    """The shared server, with the archives of this table in its store."""
    for name, build in BUILT.items():
        if not (multi.store / name).exists():
            multi.add(name, one(build))
    return multi


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.says)
def test_a_cause_has_its_status_on_every_surface(full, cause):
    data = cause.document if isinstance(cause.document, bytes) else json.dumps(cause.document).encode()
    sent = {"data": data, "headers": {"Content-Type": "application/json", **cause.headers}}
    answers = (
        full.invoke(cause.archive, **sent),
        full.ask(cause.archive, **sent),
        full.call("POST", f"/v2/models/{cause.archive}/infer", **sent),
    )
    assert [answer.status_code for answer in answers] == [cause.multi, cause.single, cause.kserve]
    for answer in answers:
        assert answer.headers["Content-Type"] == "application/json"
        assert isinstance(answer.json()["error"], str)
    named = {"ContentType": sent["headers"]["Content-Type"]}
    if "Accept" in cause.headers:
        named["Accept"] = cause.headers["Accept"]
    with boto(full) as runtime, pytest.raises(ClientError) as caught:
        invoke(runtime, cause.archive, data, **named)
    assert caught.value.response["Error"]["Code"] == cause.kind
    if cause.kind == "ModelError":
        assert caught.value.response["OriginalStatusCode"] == cause.single


def test_an_archive_that_is_not_ready_is_503_with_a_time(tight):
    gate = tight.path("gate")
    name = tight.add(f"{gate.name}.tar.gz", one(lambda folder: steps.gated(folder, gate)))
    try:
        for answer in (tight.ask(name), tight.invoke(name), tight.call("POST", f"/v2/models/{name}/infer", json=ONES)):
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) >= 1
    finally:
        gate.touch()
    until(lambda: tight.ask(name).status_code == 200, what="the load that nobody waited for")


def test_a_request_that_runs_out_of_time_is_504(tight):
    gate = tight.path("gate")
    name = tight.add(f"{gate.name}.tar.gz", one(steps.moody))
    until(lambda: tight.ask(name, text("hello")).status_code == 200, what="the step")
    try:
        assert tight.ask(name, text(f"wait {gate}")).status_code == 504
    finally:
        gate.touch()
    with boto(tight) as runtime:
        until(lambda: tight.ask(name, text("hello")).status_code == 200, what="the step again")
        assert invoke(runtime, name, text("hello"))["ResponseMetadata"]["HTTPStatusCode"] == 200
