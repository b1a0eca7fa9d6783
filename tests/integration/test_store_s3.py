"""An S3 prefix as an origin, against a real S3 API on loopback with real boto3."""

import pytest

from server.domain.errors import ArchiveNotFound, InvalidArchive, StoreUnavailable
from server.store.origin import OriginChanged
from server.store.s3.options import S3Options
from server.store.s3.prefix import S3Prefix
from server.store.threads import StoreThreads
from tests.unit.store.s3_bucket import Bucket, s3_server


@pytest.fixture(scope="module")
def endpoint():
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(endpoint):
    bucket = Bucket(endpoint)
    yield bucket
    bucket.close()


@pytest.fixture
async def threads():
    pool = StoreThreads(checks=1, transfers=1)
    yield pool
    await pool.close()


@pytest.fixture
async def origin(bucket, threads):
    origin = S3Prefix(bucket.with_options(range_bytes=1000), threads)
    yield origin
    await origin.close()


async def test_a_tar_object_is_fetched_whole_in_ranges(bucket, origin, tmp_path):
    content = bytes(range(256)) * 100
    bucket.put("team/x.tar.gz", content)
    version = await origin.version("team/x.tar.gz")
    assert origin.fetch_bytes("team/x.tar.gz", version) == len(content)
    path = await origin.fetch("/team/x.tar.gz", version, tmp_path)
    assert path == tmp_path / "x.tar.gz"
    assert path.read_bytes() == content
    assert [found.name for found in tmp_path.iterdir()] == ["x.tar.gz"]


async def test_a_small_object_is_fetched_at_once(bucket, origin, tmp_path):
    bucket.put("team/head.tar.gz", b"a few bytes")
    path = await origin.fetch("team/head.tar.gz", await origin.version("team/head.tar.gz"), tmp_path)
    assert path.read_bytes() == b"a few bytes"
    assert [found.name for found in tmp_path.iterdir()] == ["head.tar.gz"]


async def test_an_empty_object_is_fetched(bucket, origin, tmp_path):
    bucket.put("x.tar.gz", b"")
    path = await origin.fetch("x.tar.gz", await origin.version("x.tar.gz"), tmp_path)
    assert path.read_bytes() == b""


async def test_a_name_without_suffix_finds_the_tar_object(bucket, origin, tmp_path):
    bucket.put("x.tar.zst", b"zst")
    version = await origin.version("x")
    assert version == await origin.version("x.tar.zst")
    assert (await origin.fetch("x", version, tmp_path)).read_bytes() == b"zst"


async def test_a_folder_is_fetched_with_all_its_objects(bucket, origin, tmp_path):
    bucket.put("m/encoder/config.pbtxt", b"config")
    bucket.put("m/encoder/1/model.onnx", b"onnx" * 1000)
    bucket.put("m/encoder/1/", b"")
    bucket.put("m-other/config.pbtxt", b"another archive")
    version = await origin.version("m")
    path = await origin.fetch("m", version, tmp_path)
    files = {found.relative_to(path).as_posix(): found.read_bytes() for found in path.rglob("*") if found.is_file()}
    assert files == {"encoder/config.pbtxt": b"config", "encoder/1/model.onnx": b"onnx" * 1000}
    assert origin.fetch_bytes("m", version) == 4006


async def test_versions_follow_the_content(bucket, origin):
    bucket.put("x.tar.gz", b"one")
    bucket.put("m/config.pbtxt", b"one")
    before = [await origin.version("x.tar.gz"), await origin.version("m")]
    assert before == [await origin.version("x.tar.gz"), await origin.version("m")]
    bucket.put("x.tar.gz", b"two")
    bucket.put("m/1/model.onnx", b"new")
    after = [await origin.version("x.tar.gz"), await origin.version("m")]
    assert not set(before) & set(after)


@pytest.mark.parametrize("size", [5000, 500])  # in ranges, and at once
async def test_an_object_that_changed_since_it_was_looked_at_is_noticed(bucket, origin, tmp_path, size):
    bucket.put("x.tar.gz", b"a" * size)
    version = await origin.version("x.tar.gz")
    bucket.put("x.tar.gz", b"b" * size)
    with pytest.raises(OriginChanged):
        await origin.fetch("x.tar.gz", version, tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_an_object_that_shrank_since_it_was_looked_at_is_noticed(bucket, origin, tmp_path):
    bucket.put("x.tar.gz", b"a" * 5000)
    version = await origin.version("x.tar.gz")
    bucket.put("x.tar.gz", b"b")
    with pytest.raises(OriginChanged):
        await origin.fetch("x.tar.gz", version, tmp_path)


async def test_deleted_objects_are_not_found(bucket, origin, tmp_path):
    bucket.put("x.tar.gz", b"one")
    version = await origin.version("x.tar.gz")
    bucket.delete("x.tar.gz")
    with pytest.raises(ArchiveNotFound):
        await origin.fetch("x.tar.gz", version, tmp_path)
    with pytest.raises(ArchiveNotFound):
        await origin.version("x.tar.gz")


async def test_an_archive_may_move_from_a_folder_to_a_tar_object(bucket, origin):
    bucket.put("m/config.pbtxt", b"one")
    folder = await origin.version("m")
    bucket.delete_folder("m")
    bucket.put("m.tar.gz", b"tar")
    assert await origin.version("m") != folder


async def test_what_was_found_may_be_forgotten_before_it_is_fetched(bucket, origin, tmp_path):
    bucket.put("x.tar.zst", b"zst")
    bucket.put("m/config.pbtxt", b"one")
    versions = {name: await origin.version(name) for name in ("x", "m")}
    origin._found.clear()
    assert origin.fetch_bytes("m", versions["m"]) == 0
    assert (await origin.fetch("x", versions["x"], tmp_path / "x")).read_bytes() == b"zst"
    assert (await origin.fetch("m", versions["m"], tmp_path / "m") / "config.pbtxt").read_bytes() == b"one"
    assert origin.fetch_bytes("m", versions["m"]) == 3


@pytest.mark.parametrize("name", ["nothing", "nothing.tar.gz", "../models/x.tar.gz", ""])
async def test_unknown_and_impossible_names_are_not_found(origin, name):
    with pytest.raises(ArchiveNotFound):
        await origin.version(name)


async def test_keys_that_cannot_be_files_are_refused(bucket, origin):
    bucket.put("m/../../evil", b"x")
    bucket.put("m/config.pbtxt", b"x")
    with pytest.raises(InvalidArchive, match="cannot be a file"):
        await origin.version("m")


async def test_names_are_listed_over_several_pages(bucket, origin):
    names = [f"many/{n:04}.tar.gz" for n in range(20)]
    for name in names:
        bucket.put(name, b"")
    bucket.put("m/encoder/config.pbtxt", b"")
    assert await origin.names() == ["m", *names]


async def test_a_store_may_be_a_whole_bucket(endpoint, threads):
    bucket = Bucket(endpoint, prefix="")
    bucket.put("x.tar.gz", b"one")
    origin = S3Prefix(bucket.options, threads)
    assert await origin.names() == ["x.tar.gz"]
    assert await origin.version("x")
    await origin.close()
    bucket.close()


async def test_a_missing_bucket_is_told_apart_from_a_missing_archive(bucket, threads):
    origin = S3Prefix(bucket.with_options(bucket="no-such-bucket"), threads)
    with pytest.raises(StoreUnavailable, match="no bucket 'no-such-bucket'"):
        await origin.names()
    await origin.close()


def test_addresses_are_read():
    options = S3Options.from_url("s3://models/production/eu/", "http://minio:9000", "eu-west-1")
    assert (options.bucket, options.prefix) == ("models", "production/eu")
    assert (options.endpoint_url, options.region) == ("http://minio:9000", "eu-west-1")
    assert S3Options.from_url("s3://models").prefix == ""
    for address in ("models", "s3:/models", "http://models/x", "s3://"):
        with pytest.raises(ValueError, match="s3://bucket"):
            S3Options.from_url(address)
