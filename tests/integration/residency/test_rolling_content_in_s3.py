"""A new version of an archive in S3 while eight clients ask for it, and a broken one after it.

What is promised, and asserted of every request:
- It is answered, and wholly by one version: encoder and head of the pipeline both change, so that a mixture of two
  versions is the answer of none.
- Once any answer of a version has arrived, every request that is sent later is answered by it or a newer one. So no
  client ever sees an older version after a newer one.
- A version that cannot be served changes nothing but what the server says about it.
"""

import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from server.archive.pack import pack
from server.domain.inference import Array
from tests.fakes.repositories import linear_pipeline, linear_pipeline_answer
from tests.integration.live_server import LiveServer, live_server
from tests.integration.residency.asking import Client
from tests.integration.residency.traffic import Traffic, traffic
from tests.integration.until import until
from tests.unit.store.s3_bucket import Bucket, s3_server

OLD, NEW, NEWER = 10, 20, 30
SEEDS = (OLD, NEW, NEWER)
FLIP_S = 10.0


@dataclass(frozen=True, slots=True)
class Deployer:
    """Who writes archives into the bucket that the server reads."""

    server: LiveServer
    bucket: Bucket
    folder: Path
    serial: Iterator[int] = field(default_factory=itertools.count)

    def packed(self, seed: int) -> bytes:
        """A version of the pipeline as a .tar.gz."""
        root = linear_pipeline(self.folder / str(next(self.serial)), encoder_seed=seed, head_seed=seed + 1)
        return packed_bytes(root)

    def residency(self) -> Any:
        with Client(self.server) as client:
            return client.residency()

    def departures(self, archive: str) -> list[Any]:
        with Client(self.server) as client:
            found: list[Any] = client.call("GET", f"/admin/residency/decisions?archive={archive}").document["decisions"]
            return found


def packed_bytes(root: Path) -> bytes:
    """A repository as a .tar.gz."""
    file = root.with_suffix(".tar.gz")
    pack(root, file)
    return file.read_bytes()


def answer(inputs: Array, seed: int) -> Array:
    """What the version of this seed answers."""
    return linear_pipeline_answer(inputs, encoder_seed=seed, head_seed=seed + 1)


@pytest.fixture(scope="module")
def deployer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployer]:
    folder = tmp_path_factory.mktemp("rolling-s3")
    with s3_server() as endpoint, closing(Bucket(endpoint, "prod")) as bucket:
        flags = ("--store", f"s3://{bucket.options.bucket}/prod", "--s3-endpoint-url", endpoint, "--refresh-s", 0.3)
        with live_server(folder / "server", *flags, "--engine", "embedded", "--memory-budget", "200MiB") as server:
            yield Deployer(server, bucket, folder / "versions")


def assert_kept(found: Traffic) -> None:
    """What is promised of every request."""
    assert found.faults == set()
    assert found.turned_back(SEEDS) == []
    for before, after in itertools.pairwise(SEEDS):
        first = min((each.ended for each in found.answers_of(after)), default=float("inf"))
        late = [each for each in found.answers_of(before) if each.began > first]
        assert late == [], f"{len(late)} requests were answered by an older version after the first answer of {after}"


def test_versions_flip_under_load_and_a_broken_one_changes_nothing(deployer: Deployer) -> None:
    name = "pipeline.tar.gz"
    deployer.bucket.put(name, deployer.packed(OLD))
    with traffic(deployer.server, name, SEEDS, answer) as found:
        until(lambda: found.has_answers_of(OLD), what="answers of the first version")
        deployer.bucket.put(name, deployer.packed(NEW))
        until(lambda: found.has_answers_of(NEW), FLIP_S, "answers of the second version")
        until(lambda: deployer.departures(name), what="the first version gone")

        deployer.bucket.put(name, deployer.packed(NEWER)[:-100])
        until(lambda: deployer.residency()["stale"], FLIP_S, "the broken version noticed")
        (stale,) = deployer.residency()["stale"]
        answered = len(found.answers_of(NEW))
        until(lambda: found.has_answers_of(NEW, answered + 50), what="more answers of the second version")

        deployer.bucket.put(name, deployer.packed(NEWER))
        until(lambda: found.has_answers_of(NEWER), FLIP_S, "answers of the repaired version")

    assert_kept(found)
    assert (stale["archive"], stale["error"]) == (name, "InvalidArchive")
    assert f"archive '{name}' version" in deployer.server.text()
    assert "cannot be staged" in deployer.server.text()
    assert {each["reason"] for each in deployer.departures(name)} == {"replaced by new content"}


def test_a_version_that_unpacks_but_does_not_load_changes_nothing_either(deployer: Deployer) -> None:
    name = "unloadable.tar.gz"
    deployer.bucket.put(name, deployer.packed(OLD))
    with traffic(deployer.server, name, SEEDS, answer) as found:
        until(lambda: found.has_answers_of(OLD), what="answers of the first version")
        broken = linear_pipeline(deployer.folder / "broken", encoder_seed=NEW, head_seed=NEW + 1)
        model = next(broken.rglob("model.onnx"))
        model.write_bytes(model.read_bytes()[:-10])
        deployer.bucket.put(name, packed_bytes(broken))
        until(lambda: deployer.residency()["failures"], FLIP_S, "the broken version noticed")
        (failure,) = deployer.residency()["failures"]
        answered = len(found.answers_of(OLD))
        until(lambda: found.has_answers_of(OLD, answered + 50), what="more answers of the first version")

    assert_kept(found)
    assert (failure["archive"], failure["error"]) == (name, "LoadFailed")
    assert failure["serving_instead"] not in {None, failure["version"]}
    assert f"archive '{name}' could not be loaded" in deployer.server.text()
