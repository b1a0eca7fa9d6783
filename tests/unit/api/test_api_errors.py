"""The table from error class to status: complete, and readable by each surface's clients."""

import json

import pytest

from server.api.errors import RUNTIME_STATUSES, TABLE, as_known, plain_refusal, refusal, status_of
from server.api.surface import Surface
from server.domain import errors as e

MADE: dict[type[e.RoundhouseError], e.RoundhouseError] = {
    e.PayloadTooLarge: e.PayloadTooLarge(10),
    e.ArchiveNotFound: e.ArchiveNotFound("a"),
    e.NotLoaded: e.NotLoaded("a"),
    e.AlreadyLoaded: e.AlreadyLoaded("a"),
    e.DeviceFull: e.DeviceFull("a", "cpu"),
    e.NotReady: e.NotReady("a", 2.4),
    e.Overloaded: e.Overloaded(3),
    e.Draining: e.Draining(),
    e.DeadlineExceeded: e.DeadlineExceeded(1.0),
}


def tree(kind: type[e.RoundhouseError]) -> list[type[e.RoundhouseError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in tree(child))]


ALL = [kind for kind in tree(e.RoundhouseError) if kind.__module__ == e.__name__]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_class_has_a_row(kind):
    assert kind in TABLE


@pytest.mark.parametrize("surface", Surface)
@pytest.mark.parametrize("kind", ALL)
def test_every_error_can_be_written_on_every_surface(kind, surface):
    refused = refusal(surface, MADE.get(kind) or kind("what went wrong"))
    document = json.loads(refused.body)
    assert 400 <= refused.status < 600
    assert isinstance(document, dict)
    assert document.keys() & {"error", "Message"}


@pytest.mark.parametrize("row", TABLE.values())
def test_rows_name_classes_of_the_runtime_api(row):
    assert row.runtime in RUNTIME_STATUSES


@pytest.mark.parametrize("kind", [e.DeviceFull, e.DiskFull])
@pytest.mark.parametrize("surface", [Surface.SINGLE, Surface.MULTI, Surface.KSERVE])
def test_only_missing_room_is_507(kind, surface):
    with_507 = {kind for kind in ALL if status_of(surface, MADE.get(kind) or kind("x")) == 507}
    assert with_507 == {e.DeviceFull, e.DiskFull}


def test_names_and_messages_never_change_a_status():
    error = e.LoadFailed("BLOOM.tar.gz: CUDA out of memory")
    assert status_of(Surface.MULTI, error) == 400


def test_model_error_wraps_what_a_container_would_have_said():
    refused = refusal(Surface.RUNTIME, e.InferenceFailed("boom"))
    document = json.loads(refused.body)
    assert refused.status == 424
    assert (b"x-amzn-errortype", b"ModelError") in refused.headers
    assert document["OriginalStatusCode"] == 500
    assert json.loads(document["OriginalMessage"]) == {"error": "boom"}


@pytest.mark.parametrize(("error", "seconds"), [(e.NotReady("a", 2.4), b"3"), (e.NotReady("a", 0.0), b"1")])
def test_retry_after_is_whole_seconds(error, seconds):
    assert (b"retry-after", seconds) in refusal(Surface.KSERVE, error).headers


def test_unknown_exceptions_keep_their_text_to_themselves():
    known = as_known(ValueError("/etc/secret"))
    assert isinstance(known, e.Bug)
    assert "/etc/secret" not in str(known)


def test_known_errors_stay_themselves():
    error = e.NotLoaded("a")
    assert error is as_known(error)


def test_runtime_refusals_of_http_itself_name_a_class():
    refused = plain_refusal(Surface.RUNTIME, 404, "Not Found")
    assert json.loads(refused.body) == {"Message": "Not Found"}
