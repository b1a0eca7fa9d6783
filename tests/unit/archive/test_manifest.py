import json

import pytest

from server.archive.manifest import Manifest, parse_manifest, read_manifest, render_manifest, write_manifest
from server.domain.errors import InvalidArchive

FULL = Manifest(
    task="sentence-embedding",
    entry_model="minilm",
    description="größe",
    provenance={"torch": "2.13"},
    parity={"max_abs": 1e-6},
    latency={"p50_ms": 3.5},
    steps={"encoder": {"footprint_bytes": {"cpu": 1 << 20, "gpu:0": 5}}},
)


def test_what_is_written_is_read(tmp_path):
    write_manifest(FULL, tmp_path)
    assert read_manifest(tmp_path) == FULL


def test_a_repository_without_manifest_is_plain(tmp_path):
    assert read_manifest(tmp_path) is None


def test_equal_manifests_give_equal_text():
    assert render_manifest(Manifest(steps={"a": {}, "b": {}})) == render_manifest(Manifest(steps={"b": {}, "a": {}}))


def test_the_footprint_is_the_predicted_one():
    assert FULL.footprint("encoder").on("gpu:0") == 5
    assert not FULL.footprint("tokenizer").bytes_by_device


def test_fields_of_newer_builders_are_ignored():
    assert parse_manifest('{"format_version": 1, "task": "t", "colour": "red"}') == Manifest(task="t")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "object"),
        ('{"format_version": 2}', "reads up to 1"),
        ('{"format_version": "1"}', "reads up to 1"),
        ('{"format_version": true}', "reads up to 1"),
        ('{"task": 3}', "task must be text"),
        ('{"steps": []}', "steps must be an object"),
        ('{"steps": {"a": 1}}', r"steps\.a"),
        ('{"steps": {"a": {"footprint_bytes": {"cpu": -1}}}}', "whole numbers"),
        ('{"steps": {"a": {"footprint_bytes": {"cpu": "1GiB"}}}}', "whole numbers"),
        ('{"steps": {"a": {"footprint_bytes": 7}}}', "whole numbers"),
    ],
)
def test_a_broken_manifest_says_where(content, message):
    with pytest.raises(InvalidArchive, match=message):
        parse_manifest(content)


def test_the_manifest_may_not_be_a_link(tmp_path):
    (tmp_path / "elsewhere").write_text(json.dumps({"task": "x"}))
    (tmp_path / "roundhouse.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidArchive, match="link"):
        read_manifest(tmp_path)


def test_the_manifest_must_be_utf8(tmp_path):
    (tmp_path / "roundhouse.json").write_bytes(b'{"task": "\xff"}')
    with pytest.raises(InvalidArchive, match="UTF-8"):
        read_manifest(tmp_path)
