"""Archives that are damaged, hostile or wrong: told clearly, remembered, and nothing of them stays on the disk."""

import gzip
import io
import os
import random
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.blackbox import steps
from tests.blackbox.archives import files_below, link, one, pack, raw_tar
from tests.blackbox.client import ONES, Client
from tests.fakes.repositories import chain_ensemble, linear_pipeline, onnx_identity, onnx_linear, write_config
from tests.integration.live_server import live_server
from tests.integration.until import until

CONFIG = ("model/config.pbtxt", b'backend: "onnxruntime"')


def good(archive: Path) -> bytes:
    """The bytes of an archive that works."""
    scratch = archive.with_name(f".{archive.name}-good")
    linear_pipeline(scratch, encoder_seed=80, ballast_bytes=20_000)
    packed = pack(scratch, archive).read_bytes()
    archive.unlink()
    return packed


def content(data: bytes) -> Callable[[Path], object]:
    return lambda archive: archive.write_bytes(data)


def truncated(archive):
    archive.write_bytes(good(archive)[:-4000])


def flipped(archive):
    data = bytearray(good(archive))
    for at in range(len(data) // 2, len(data) // 2 + 64):
        data[at] ^= 0xFF
    archive.write_bytes(data)


def members(*wanted) -> Callable[[Path], object]:
    return lambda archive: raw_tar(archive, CONFIG, *wanted)


def device(archive):
    node = tarfile.TarInfo("model/1/null")
    node.type, node.devmajor, node.devminor = tarfile.CHRTYPE, 1, 3
    raw_tar(archive, CONFIG, node)


def repository(build: Callable[[Path], object]) -> Callable[[Path], object]:
    def write(archive: Path) -> None:
        scratch = archive.with_name(f".{archive.name}-repository")
        build(scratch)
        pack(scratch, archive)

    return write


def unparsable(root):
    write_config(root / "model", 'name: "model"', "max_batch_size: many")
    (root / "model" / "1").mkdir()


def unknown_field(root):
    write_config(root / "model", 'name: "model"', "max_bitch_size: 8")
    (root / "model" / "1").mkdir()


def missing_tensor(root):
    onnx_linear(root / "linear")
    config = chain_ensemble(root / "pipeline", ["linear"], output_dims=[2]) / "config.pbtxt"
    config.write_text(config.read_text().replace('output_map { key: "OUTPUT0"', 'output_map { key: "STRANGER"'))


def missing_step(root):
    chain_ensemble(root / "pipeline", ["stranger"])


def circle(root):
    chain_ensemble(root / "one", ["two"])
    chain_ensemble(root / "two", ["one"])


def broken_graph(root):
    (onnx_identity(root / "model") / "1" / "model.onnx").write_bytes(b"not a graph")


def other_backend(root):
    write_config(onnx_identity(root / "model"), 'name: "model"', 'backend: "made_up"', *steps.NUMBER_IO)


class Fault(NamedTuple):
    """How an archive is written, and a word of the answer."""

    says: str
    write: Callable[[Path], object]
    words: str = ""


FAULTS = [
    Fault("empty", content(b"")),
    Fault("not a tar", content(b"these are not the bytes of a tar" * 100)),
    Fault("gzip of nonsense", content(gzip.compress(random.Random(1).randbytes(5000)))),
    Fault("truncated", truncated),
    Fault("damaged", flipped),
    Fault("an empty tar", raw_tar),
    Fault("a path that climbs", members(("../../escaped", b"x")), "escaped"),
    Fault("an absolute path", members((f"{os.sep}tmp/roundhouse-escaped", b"x")), "escaped"),
    Fault("a symbolic link", members(link("model/1/passwd", "/etc/passwd")), "link"),
    Fault("a file through a linked folder", members(link("model/1", "/tmp"), ("model/1/escaped", b"x")), "link"),
    Fault("a hard link", members(link("model/1/shadow", "/etc/shadow", tarfile.LNKTYPE)), "link"),
    Fault("a device", device, "device"),
    Fault("no model", lambda archive: raw_tar(archive, ("README.md", b"nothing here")), "model"),
    Fault("a config that does not parse", repository(unparsable), "model"),
    Fault("a config with an unknown field", repository(unknown_field), "max_bitch_size"),
    Fault("an ensemble that names a missing tensor", repository(missing_tensor), "STRANGER"),
    Fault("an ensemble without its step", repository(missing_step), "stranger"),
    Fault("ensembles that call each other", repository(circle), "circle"),
    Fault("a graph that does not parse", repository(broken_graph)),
    Fault("a backend that is not there", repository(other_backend), "made_up"),
]


def told(client, name) -> dict:
    """boto3's error for an archive."""
    made = boto3.client(
        "sagemaker-runtime",
        endpoint_url=client.live.base_url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}),
    )
    try:
        with pytest.raises(ClientError) as caught:
            made.invoke_endpoint(EndpointName="e", TargetModel=name, Body=b"{}")
    finally:
        made.close()
    return caught.value.response


def cached(client) -> list[str]:
    """Files of the disk cache that belong to archives."""
    return [file for file in files_below(client.folder / "cache") if file.startswith(("tmp", "archives", "steps"))]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.says)
def test_a_faulty_archive(multi, fault):
    name = f"faulty/{fault.says.replace(' ', '-')}-{multi.engine}.tar.gz"
    (multi.store / "faulty").mkdir(exist_ok=True)
    fault.write(multi.store / name)
    disk, memory = cached(multi), multi.charged_bytes()
    first = multi.invoke(name)
    assert first.status_code == 400
    assert fault.words in first.json()["error"]
    assert str(multi.folder) not in first.text
    error = told(multi, name)
    assert (error["Error"]["Code"], error["OriginalStatusCode"] in (400, 500, 501)) == ("ModelError", True)
    assert multi.invoke(name).json() == first.json()
    assert len(re.findall(re.escape(f"{name!r} version"), multi.live.text())) <= 1  # staged once, then remembered
    assert [file for file in cached(multi) if file not in disk and not is_kept(fault, file)] == []
    assert multi.charged_bytes() <= memory
    assert not any(path.exists() for path in (Path("/tmp/roundhouse-escaped"), Path("/tmp/escaped")))
    assert list(multi.folder.rglob("*escaped*")) == []


def is_kept(fault, file) -> bool:
    """What can be staged and only does not load is kept: its next load needs no fetch."""
    return fault.says in ("a graph that does not parse", "a backend that is not there") and not file.startswith("tmp")


def test_an_archive_that_is_put_right_is_served(multi):
    name = f"faulty/repaired-{multi.engine}.tar.gz"
    (multi.store / "faulty").mkdir(exist_ok=True)
    (multi.store / name).write_bytes(b"broken")
    assert multi.ask(name).status_code == 400
    multi.add(name, one(onnx_linear))
    until(lambda: multi.ask(name).status_code == 200, 20, "the repaired archive")


def test_an_archive_that_disappears_is_not_found(multi):
    name = multi.add(f"faulty/leaving-{multi.engine}.tar.gz", one(onnx_linear))
    assert multi.ask(name).status_code == 200
    (multi.store / name).unlink()
    until(lambda: multi.ask(name).status_code == 404, 20, "the end of the archive")


def zeros(archive: Path, size: int) -> None:
    """A bomb: little on the wire, much on the disk."""
    member = tarfile.TarInfo("model/1/model.onnx")
    member.size = size
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(member, io.BytesIO(bytes(size)))


def test_a_bomb_is_refused_and_leaves_nothing(tight):
    disk = cached(tight)
    zeros(tight.store / "bomb.tar.gz", 8 << 20)
    assert (tight.store / "bomb.tar.gz").stat().st_size < 16_384
    answer = tight.invoke("bomb.tar.gz")
    assert answer.status_code == 400
    assert "1048576" in answer.json()["error"]
    assert cached(tight) == disk
    assert tight.ask("echo.tar.gz").status_code == 200


def test_a_disk_that_is_full_is_507_and_loses_nothing(engine, tmp_path_factory):
    """The quota stands for the disk: what is served stays served, and the room that was taken comes back."""
    folder = tmp_path_factory.mktemp(f"narrow-{engine}")
    flags = ("--engine", engine, "--store", folder / "store", "--disk-quota", "300KiB")
    (folder / "store").mkdir()
    with live_server(folder, *flags) as live:
        client = Client(live, engine, folder, folder / "store")
        client.add("small.tar.gz", one(onnx_linear))
        client.add("large.tar.gz", one(lambda path: onnx_linear(path, ballast_bytes=1 << 20)))
        before = client.ask("small.tar.gz", ONES)
        assert before.status_code == 200
        disk = cached(client)
        for _ in range(2):
            answer = client.invoke("large.tar.gz")
            assert answer.status_code == 507
            assert "307200" in answer.json()["error"]
        error = told(client, "large.tar.gz")
        assert (error["Error"]["Code"], error["OriginalStatusCode"]) == ("ModelError", 507)
        assert cached(client) == disk
        assert client.ask("small.tar.gz", ONES).json() == before.json()
        client.add("next.tar.gz", one(lambda path: onnx_linear(path, seed=3)))
        assert client.ask("next.tar.gz").status_code == 200
