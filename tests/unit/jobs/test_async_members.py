"""From the members of InvokeEndpointAsync to a job: limits, patterns, destinations."""

from dataclasses import replace

import pytest

from server.domain.errors import InvalidHeader
from server.jobs.async_inference import BODY_BYTES, Call, Places, job_of
from server.jobs.locations import S3Folder
from tests.unit.jobs.job_fakes import PLACES

PAYLOAD = {"InputLocation": "s3://in/a/b.json"}


def read(members=PAYLOAD, body=b"", places=PLACES):
    return job_of(Call("endpoint", "minilm.tar.gz", members, body), places, "made-here", 1000.0)


def test_what_is_not_said_has_sagemaker_s_defaults():
    job = read()
    assert (job.ttl_s, job.timeout_s) == (21_600, 900)
    assert (job.content_type, job.accept, job.custom_attributes) == ("", "", "")
    assert (job.id, job.inference_id) == ("made-here", "made-here")
    assert str(job.output) == "s3://out/results/made-here.out"
    assert str(job.failure) == "s3://out/failures/made-here-error.out"


def test_every_member_is_kept():
    job = read(
        {
            "InputLocation": "s3://in/ä ö/b.json",
            "ContentType": "application/json",
            "Accept": "image/png, */*",
            "CustomAttributes": "trace=1",
            "InferenceId": "order-7",
            "RequestTTLSeconds": "60",
            "InvocationTimeoutSeconds": "3600",
        }
    )
    assert job.input == "s3://in/ä ö/b.json"
    assert (job.content_type, job.accept, job.custom_attributes) == ("application/json", "image/png, */*", "trace=1")
    assert (job.inference_id, job.ttl_s, job.timeout_s) == ("order-7", 60, 3600)
    assert (job.endpoint, job.archive, job.accepted_at) == ("endpoint", "minilm.tar.gz", 1000.0)


@pytest.mark.parametrize(
    ("members", "output", "failure"),
    [
        ({"InferenceId": "a b/c%"}, "results/a%20b%2Fc%25.out", "failures/a%20b%2Fc%25-error.out"),
        ({"InferenceId": "!_.*'()-"}, "results/!_.*'()-.out", "failures/!_.*'()--error.out"),
        ({"InferenceId": "i", "Filename": "r.json"}, "results/r.json", "failures/r.json-error.out"),
        ({"InferenceId": "i", "S3OutputPathExtension": "/x//y/"}, "results/x/y/i.out", "failures/x/y/i-error.out"),
    ],
)
def test_results_and_failures_have_names_that_are_known_beforehand(members, output, failure):
    job = read({**PAYLOAD, **members})
    assert (job.output.key, job.failure.key) == (output, failure)


def test_results_and_failures_may_share_a_bucket_without_prefix():
    job = read(places=Places(S3Folder("b"), S3Folder("b")))
    assert (str(job.output), str(job.failure)) == ("s3://b/made-here.out", "s3://b/made-here-error.out")


def test_what_s3_could_not_hold_is_refused_at_once():
    long = Places(S3Folder("b", "p" * 1000), S3Folder("b"))
    with pytest.raises(InvalidHeader, match="S3's limit of 1024 bytes"):
        read({**PAYLOAD, "InferenceId": "i" * 30}, places=long)


def test_a_payload_may_come_with_the_call():
    job = read({}, b"x" * BODY_BYTES)
    assert job.input == ""
    assert len(job.body_digest) == 64


INPUTS = (S3Folder("in", "a"), S3Folder("other"))


@pytest.mark.parametrize("address", ["s3://in/a/b.json", "s3://in/a/b/c.json", "s3://other/x"])
def test_a_payload_may_lie_where_the_settings_say(address):
    places = replace(PLACES, inputs=INPUTS)
    assert read({"InputLocation": address}, places=places).input == address
    assert read({}, b"x", places=places).input == ""


@pytest.mark.parametrize(
    "address", ["s3://in/b.json", "s3://in/ab/c.json", "s3://in/a", "s3://in/a/../b", "s3://other/./x", "s3://else/a/b"]
)
def test_a_payload_elsewhere_is_refused_by_the_setting_s_name(address):
    with pytest.raises(InvalidHeader, match="--async-inputs"):
        read({"InputLocation": address}, places=replace(PLACES, inputs=INPUTS))
    assert read({"InputLocation": address}).input == address


WRONG = [
    ({}, b"", "InputLocation .* is missing"),
    (PAYLOAD, b"x", "exclude each other"),
    ({}, b"x" * (BODY_BYTES + 1), "128000 bytes"),
    ({"InputLocation": "https://bucket.s3.amazonaws.com/x"}, b"", "not fetched over https"),
    ({"InputLocation": "http://bucket/x"}, b"", "not an S3 address"),
    ({"InputLocation": "s3://bucket"}, b"", "names no object"),
    ({"InputLocation": "s3://bucket/folder/"}, b"", "names no object"),
    ({"InputLocation": "s3://b?cket/x"}, b"", "not an S3 address"),
    ({"InputLocation": "s3:///x"}, b"", "not an S3 address"),
    ({"InputLocation": ""}, b"", "not an S3 address"),
    ({"InputLocation": "s3://in/" + "x" * 1024}, b"", "1024 characters"),
    *(
        ({**PAYLOAD, member: value}, b"", member)
        for member, values in {
            "InferenceId": ["", " a", "a" * 65, "ä", "a\tb"],
            "ContentType": ["a" * 1025, "ä"],
            "Accept": ["a" * 1025, "ä"],
            "CustomAttributes": ["a" * 1025, "\x7f"],
            "RequestTTLSeconds": ["59", "21601", "", "1e3", "-60", "٦٠", "9" * 5000, "60.0"],
            "InvocationTimeoutSeconds": ["0", "3601", "", "ten"],
            "S3OutputPathExtension": ["", "a" * 513, "a b", "s3://x", "https:x", "a/../b", "./a", "..", "ä"],
            "Filename": ["", "a" * 33, ".a", "a.b.c", "a/b", "a b", "-a", "ä"],
        }.items()
        for value in values
    ),
]


@pytest.mark.parametrize(("members", "body", "told"), WRONG)
def test_what_breaks_a_constraint_is_refused_by_name_and_in_bounds(members, body, told):
    with pytest.raises(InvalidHeader, match=told) as raised:
        read(members, body)
    assert len(str(raised.value)) < 400 or "InputLocation" in str(raised.value)


def test_a_job_is_expired_when_its_time_to_live_is_over():
    job = read({**PAYLOAD, "RequestTTLSeconds": "60"})
    assert not job.is_expired(1060.0)
    assert job.is_expired(1060.1)
    assert not job.is_expired(0.0), "the wall's clock may go back"


def test_a_call_that_is_repeated_is_known_by_all_that_it_says():
    members = {**PAYLOAD, "InferenceId": "i"}
    first = job_of(Call("endpoint", "a", members), PLACES, "one", 1.0)
    assert first.is_same_call(job_of(Call("endpoint", "a", members), PLACES, "two", 2.0))
    for changed in (
        Call("endpoint", "b", members),
        Call("endpoint", "a", {**members, "Accept": "x"}),
        Call("endpoint", "a", {"InferenceId": "i"}, b"x"),
    ):
        assert not first.is_same_call(job_of(changed, PLACES, "two", 2.0))
