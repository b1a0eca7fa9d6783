"""Which archive an address means, as far as workers answer it; and what they go by."""

import pytest

from server.api.doors import doors
from server.domain.clock import SystemClock
from server.serving.address import AddressBook
from server.settings import Settings, part_options
from server.store.registered import RegisteredFolders
from server.workers.home.assembly import finder


@pytest.fixture
def registered(tmp_path):
    folders = RegisteredFolders()
    folders.add("0a1b", tmp_path, "team/loaded")
    return folders


@pytest.mark.parametrize(
    ("path", "target", "name"),
    [
        ("/invocations", "a.tar.gz", "a.tar.gz"),
        ("/invocations", "", None),
        ("/models/0a1b/invoke", "", "team/loaded"),
        ("/models/0a1b/invoke", "other", None),
        ("/endpoints/any/invocations", "a.tar.gz", "a.tar.gz"),
        ("/endpoints/any/invocations-response-stream", "a.tar.gz", None),
        ("/v2/models/a/versions/1/infer", "", "a"),
        ("/v2/models/a/versions/2/infer", "", None),
        ("/v2/models/a/generate", "", None),
        ("/ping", "", None),
        ("/v2/models/../x/infer", "", None),
    ],
)
def test_an_address_means_what_the_hot_path_would_take_it_for(registered, path, target, name):
    find = finder(AddressBook(registered), doors(SystemClock(), "infer"))
    assert find((path, target)) == name


def test_where_invocations_are_streams_no_worker_answers_them(registered):
    find = finder(AddressBook(registered), doors(SystemClock(), "generate_stream"))
    assert find(("/invocations", "a")) is None
    assert find(("/v2/models/a/infer", "")) == "a"


def test_a_worker_goes_by_what_it_was_told():
    told = Settings(engine="triton", workers=3, max_body="5MiB", max_in_flight=100, restrict_api=("health:a=b",))
    heard = Settings.model_validate_json(part_options.front_end(told))
    assert (heard.workers, heard.max_body, heard.max_in_flight) == (3, 5 * 1024**2, 100)
    assert heard.restrict_api == ("health:a=b",)


def test_the_embedded_engine_has_no_workers():
    with pytest.raises(ValueError, match="--workers needs --engine triton"):
        part_options.front_end(Settings(engine="embedded", workers=2))


@pytest.mark.parametrize("refresh_s", [0.4, 2.0, 60.0])
def test_content_is_as_fresh_with_workers_as_without(refresh_s):
    settings = Settings(engine="triton", workers=2, refresh_s=refresh_s)
    looks = part_options.store(settings)
    assert looks.refresh_s + part_options.lease_valid_s(settings) == pytest.approx(refresh_s)
    alone = Settings(engine="triton", refresh_s=refresh_s)
    assert part_options.store(alone).refresh_s == refresh_s
