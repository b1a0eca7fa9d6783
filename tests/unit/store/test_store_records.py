"""An archive survives being written down."""

import dataclasses
from pathlib import Path

import pytest

from server.domain.model import Footprint, ModelSignature, StagedArchive, Step, StepDigest, TensorSpec
from server.store.disk.records import StagedRecord, dump, load

INNER, OUTER = StepDigest("1" * 64), StepDigest("2" * 64)


def _archive(root):
    signature = ModelSignature(
        "onnx",
        8,
        (TensorSpec("A", "FP32", (-1, 3), is_optional=True),),
        (TensorSpec("B", "BYTES", (1,), labels=("x", "ü")),),
    )
    inner = Step(INNER, "encoder", "onnxruntime", root / INNER, signature, {}, 12, Footprint({"cpu": 34}))
    outer = Step(
        OUTER, "all", "", root / OUTER, dataclasses.replace(signature, is_decoupled=True), {"encoder": INNER}, 1
    )
    return StagedArchive("team/x.tar.gz", "v1", OUTER, (inner, outer), task="sentence-embedding")


def test_a_record_reads_back_as_it_was():
    root = Path("/cache/steps")
    record = StagedRecord("store:team/x.tar.gz", _archive(root), {INNER: "s1", OUTER: "s2"})
    back = load(dump(record), root)
    assert back.key == record.key
    assert back.stamps == record.stamps
    assert back.archive == record.archive


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1, "steps": 3}', "null"])
def test_what_is_not_a_record_is_refused(text):
    with pytest.raises(ValueError, match=r"record|Expecting"):
        load(text, Path("/cache/steps"))


def test_a_digest_cannot_lead_elsewhere():
    text = dump(StagedRecord("k", _archive(Path("/s")), {INNER: "a", OUTER: "b"})).replace(INNER, "../../etc")
    with pytest.raises(ValueError, match="digest"):
        load(text, Path("/s"))
