"""The chaos test's judge can say no: every kind of wrong answer and of unexplained failure is planted and found."""

import io
import random
import tarfile

import numpy as np
import pytest

from benchmarks.chaos.archives import BROKEN, Archive, broken, files_of, fleet, packed, version_of
from benchmarks.chaos.truth import Truth

ARCHIVE = Archive("team/a.tar.gz", "onnx", 2)
INPUTS = np.array([[3, -7, 11, 0], [1, 2, 5, 9]], np.float32)


def answer(factor_version, offset_version):
    return INPUTS * ARCHIVE.factor(factor_version) + ARCHIVE.offset(offset_version)


def test_an_answer_says_which_version_gave_it():
    assert version_of(ARCHIVE, INPUTS, answer(0, 0)) == 0
    assert version_of(ARCHIVE, INPUTS, answer(57, 57)) == 57


def test_a_mixed_a_torn_and_a_foreign_answer_are_no_version_s():
    assert "mixed" in version_of(ARCHIVE, INPUTS, answer(3, 4))
    torn = np.concatenate([answer(3, 3)[:1], answer(4, 4)[1:]])
    assert "no version's answer" in version_of(ARCHIVE, INPUTS, torn)
    assert "mixed" in version_of(Archive("b", "onnx", 3), INPUTS, answer(3, 3))
    assert "shape" in version_of(ARCHIVE, INPUTS, answer(3, 3)[:1])


@pytest.fixture
def truth():
    judge = Truth(grace_s=5.0)
    judge.uploading(ARCHIVE, 0, 10.0)
    judge.uploading(ARCHIVE, 2, 20.0)  # the first was broken
    return judge


def test_right_answers_are_right_and_remembered(truth):
    truth.answered(ARCHIVE, 0, truth.newest_seen(ARCHIVE), 15.0)
    truth.answered(ARCHIVE, 2, truth.newest_seen(ARCHIVE), 25.0)
    assert truth.newest_seen(ARCHIVE) == 2
    assert truth.wrong_count == 0
    assert truth.outcomes["200"] == 2


def test_a_killed_process_of_a_step_explains_failures_until_the_step_answers_again(truth):
    truth.answered(ARCHIVE, 0, -1, 15.0)
    truth.begin("step's process killed", 30.0).ended = 30.0
    truth.failed(ARCHIVE, 500, "stub is not healthy", 90.0, 91.0)
    assert truth.wrong_count == 0
    truth.answered(ARCHIVE, 0, -1, 95.0)
    truth.failed(ARCHIVE, 500, "stub is not healthy", 96.0, 97.0)
    assert truth.wrong_count == 1


@pytest.mark.parametrize(
    ("version", "not_before", "ended", "said"),
    [
        (1, -1, 25.0, "never uploaded whole"),
        (2, -1, 15.0, "never uploaded whole"),
        (0, 2, 25.0, "version 0 after 2"),
        ("mixed: of two", -1, 25.0, "mixed"),
    ],
    ids=["broken", "too early", "turned back", "mixed"],
)
def test_wrong_answers_are_found(truth, version, not_before, ended, said):
    truth.answered(ARCHIVE, version, not_before, ended)
    assert truth.wrong_count == 1
    assert said in truth.wrongs[0]


def test_a_failure_needs_a_fault_of_its_kind_at_its_time_and_for_its_archive(truth):
    fault = truth.begin("deleted", 30.0, ARCHIVE.name)
    truth.failed(ARCHIVE, 404, "not found", 29.0, 31.0)
    fault.ended = 40.0
    truth.failed(ARCHIVE, 404, "not found", 44.0, 45.0)
    assert truth.wrong_count == 0
    truth.failed(ARCHIVE, 404, "too late", 46.0, 47.0)
    truth.failed(ARCHIVE, 404, "too early", 28.0, 29.0)
    truth.failed(ARCHIVE, 500, "another status", 35.0, 36.0)
    truth.failed(Archive("other", "onnx", 1), 404, "another archive", 35.0, 36.0)
    assert [wrong.rpartition(": ")[2] for wrong in truth.wrongs] == [
        "too late",
        "too early",
        "another status",
        "another archive",
    ]


def test_while_the_store_is_away_nobody_sees_that_content_was_made_good(truth):
    for kind, began, ended, name in (("broken upload", 30.0, 32.0, ARCHIVE.name), ("S3", 33.0, 44.0, "")):
        truth.begin(kind, began, name).ended = ended
    truth.failed(ARCHIVE, 400, "SyntaxError", 48.0, 48.5)
    assert truth.wrong_count == 0
    truth.failed(ARCHIVE, 400, "SyntaxError", 50.0, 50.5)
    assert truth.wrong_count == 1
    truth.failed(ARCHIVE, 503, "away", 50.0, 50.5)
    assert truth.wrong_count == 2


def test_whoever_waited_for_too_long_was_told_to_come_back(truth):
    truth.failed(ARCHIVE, 503, "archive 'a' is not ready yet; try again in 2 s", 1.0, 2.0)
    assert truth.wrong_count == 0
    truth.failed(ARCHIVE, 503, "something else", 1.0, 2.0)
    assert truth.wrong_count == 1


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("archive", fleet(1, 1, 1), ids=lambda archive: archive.kind)
def test_a_broken_upload_is_none_of_the_whole_ones(archive, how):
    whole = packed(files_of(archive, 1))
    assert broken(archive, 1, how, random.Random(1)) != whole
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        assert any(name.endswith("config.pbtxt") for name in tar.getnames())
