"""New content under an old name, while requests for it never cease."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from server.domain.clock import SystemClock
from tests.integration.live_server import LiveServer, live_server
from tests.integration.residency.asking import Client, Reply, charged_bytes, kserve_body
from tests.integration.residency.linear_archives import MODEL, inputs_of, replace_model, write_archive, write_packed
from tests.integration.residency.process_memory import memory_of
from tests.integration.residency.traffic import traffic
from tests.integration.until import until

OLD, NEW, NEWER = 1, 2, 3
WEIGHT_BYTES = 4_000_000
REFRESH_S = 0.5
FLIP_S = 10.0
"""Refresh, staging and load on a machine that does other things as well."""
RETURNED_BYTES = 6_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """A server over a store to which each test adds archives of its own."""

    store: Path
    server: LiveServer

    def residency(self) -> Any:
        with Client(self.server) as client:
            return client.residency()

    def put(self, archive: str, seed: int) -> None:
        """Write the archive, or replace what it holds, without a moment at which it is not there."""
        if archive.endswith(".tar.gz"):
            write_packed(self.store / archive, seed, WEIGHT_BYTES)
        elif (self.store / archive).exists():
            replace_model(self.store / archive, seed, WEIGHT_BYTES)
        else:
            write_archive(self.store / archive, seed, WEIGHT_BYTES)

    def spoil(self, archive: str) -> None:
        """Cut the end off: a tar file that does not unpack, or a model file that does not load."""
        file = self.store / archive if archive.endswith(".tar.gz") else self.store / archive / MODEL
        draft = self.store.parent / "draft"
        draft.write_bytes(file.read_bytes()[:-1000])
        draft.replace(file)

    def delete(self, archive: str) -> None:
        if archive.endswith(".tar.gz"):
            (self.store / archive).unlink()
        else:
            shutil.rmtree(self.store / archive)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("rolling")
    store = folder / "store"
    store.mkdir()
    flags = ("--store", store, "--engine", "embedded", "--memory-budget", "200MiB", "--refresh-s", REFRESH_S)
    with live_server(folder / "server", *flags) as server:
        yield Place(store, server)


@pytest.fixture(params=["-folder", "-packed.tar.gz"], ids=["folder", "packed"])
def archive(request: pytest.FixtureRequest, place: Place) -> str:
    """An archive with the old content that nobody asked for yet, alone in memory once somebody does.

    No name of a folder is that of a packed one without its ending: each would stand in for the other.
    """
    name = f"{request.node.originalname}{request.param}"
    place.put(name, OLD)
    with Client(place.server) as client:
        for resident in client.residency()["residents"]:
            assert client.unload(resident["archive"]).status == 200
    return name


def test_answers_flip_from_old_to_new_without_a_failure(place: Place, archive: str) -> None:
    clock = SystemClock()
    with traffic(place.server, archive, (OLD, NEW)) as found:
        until(lambda: found.has_answers_of(OLD), what="answers of the old content")
        place.put(archive, NEW)
        changed = clock.now()
        until(lambda: found.has_answers_of(NEW), FLIP_S, "answers of the new content")
        until(lambda: has_one_content(place.residency()), what="the old content gone")

    flipped = min(each.ended for each in found.answers_of(NEW))
    after_the_flip = [each for each in found.exchanges if each.began > flipped]
    last_old = max(each.ended for each in found.answers_of(OLD))
    slowest = max(each.ended - each.began for each in found.exchanges)
    print(
        f"\n[figures] {archive}: first new answer {flipped - changed:.2f} s after the change, last old one "
        f"{last_old - changed:.2f} s; {len(found.exchanges)} requests, slowest {slowest * 1e3:.0f} ms"
    )
    assert found.faults == set()
    assert {each.answered_by for each in after_the_flip} == {NEW}
    assert found.turned_back((OLD, NEW)) == []


def has_one_content(residency: Any) -> bool:
    return len(residency["residents"]) == 1 and not residency["leaving"]


def test_a_broken_new_version_leaves_the_old_one_serving(place: Place, archive: str) -> None:
    with traffic(place.server, archive, (OLD, NEWER)) as found:
        until(lambda: found.has_answers_of(OLD), what="answers of the old content")
        place.spoil(archive)
        until(lambda: troubles(place, archive), FLIP_S, "the broken content noticed")
        answered = len(found.answers_of(OLD))
        until(lambda: found.has_answers_of(OLD, answered + 100), what="more answers of the old content")
        place.put(archive, NEWER)
        until(lambda: found.has_answers_of(NEWER), 2 * FLIP_S, "answers of the repaired content")

    assert found.faults == set()
    assert found.turned_back((OLD, NEWER)) == []
    assert f"archive '{archive}'" in place.server.text().partition("WARNING")[2]


def troubles(place: Place, archive: str) -> list[Any]:
    """What the server says about content that it could not take."""
    residency = place.residency()
    return [each for each in residency["stale"] + residency["failures"] if each["archive"] == archive]


def test_a_deleted_archive_is_not_found_and_its_memory_is_back(place: Place, archive: str) -> None:
    start = memory_of(place.server.pid)
    with Client(place.server) as client:
        assert client.infer(archive, inputs_of(1)).status == 200
        assert charged_bytes(client.residency()) > WEIGHT_BYTES

        place.delete(archive)
        until(lambda: client.infer(archive, inputs_of(1)).status != 200, FLIP_S, "the deletion noticed")
        refused = {surface: refusal(client, surface, archive) for surface in SURFACES}

        until(lambda: charged_bytes(client.residency()) == 0, what="the memory back")
        assert client.residency()["steps"] == []
    grown = memory_of(place.server.pid).grown_since(start)
    assert {surface: reply.status for surface, reply in refused.items()} == SURFACES
    assert all("not found" in reply.body.decode() for reply in refused.values())
    assert refused["runtime"].headers["x-amzn-errortype"] == "ValidationError"
    assert grown <= RETURNED_BYTES


SURFACES = {"kserve": 404, "container": 404, "runtime": 400}


def refusal(client: Client, surface: str, archive: str) -> Reply:
    if surface == "kserve":
        return client.infer(archive, inputs_of(1))
    path = "/invocations" if surface == "container" else "/endpoints/any/invocations"
    body = kserve_body("FP32", (1, 4), [0.0] * 4)
    named = {"X_Amzn_SageMaker_Target_Model": archive}
    return client.call("POST", path, body, Content_Type="application/json", **named)


def test_a_deleted_archive_that_comes_back_is_served_again(place: Place, archive: str) -> None:
    with Client(place.server) as client:
        assert client.infer(archive, inputs_of(1)).status == 200
        place.delete(archive)
        until(lambda: client.infer(archive, inputs_of(1)).status == 404, FLIP_S, "the deletion noticed")

        place.put(archive, OLD)

        until(lambda: client.infer(archive, inputs_of(1)).status == 200, FLIP_S, "the return noticed")
