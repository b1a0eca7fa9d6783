"""What the settings mean for the parts."""

from pathlib import Path

import pytest

from server.settings import Settings, part_options


def test_jobs_are_wanted_where_their_results_have_a_place():
    assert part_options.jobs(Settings()) is None
    options = part_options.jobs(
        Settings(async_output="s3://out/p", async_inputs="s3://a/x/, s3://b/", cache_dir=Path("/cache"))
    )
    assert options is not None
    assert (options.output, options.failures) == ("s3://out/p", None)
    assert options.inputs == ("s3://a/x/", "s3://b/")
    assert options.journal_dir == Path("/cache/jobs")


@pytest.mark.parametrize(
    "said",
    [
        {"async_failures": "s3://f/"},
        {"async_inputs": "s3://in/"},
        {"async_success_topic": "arn:aws:sns:eu-west-1:1:x"},
        {"async_error_topic": "arn:aws:sns:eu-west-1:1:x"},
    ],
)
def test_what_belongs_to_jobs_needs_a_place_for_results(said):
    with pytest.raises(ValueError, match="need async_output"):
        part_options.jobs(Settings(**said))


def test_the_one_model_has_a_name_even_where_nobody_gave_one(tmp_path):
    assert part_options.single(Settings(model=tmp_path, mode="multi")) is None
    assert part_options.default_model(Settings(default_model="a")) == "a"
    assert part_options.single(Settings(model=tmp_path, mode="single")) == ("model", tmp_path.resolve())
    named = Settings(model=tmp_path, mode="single", default_model="mine")
    assert part_options.default_model(named) == "mine"


def test_triton_is_told_what_the_settings_say():
    told = part_options.triton(
        Settings(triton_args="--log-verbose=1 --a='b c'", grpc_port=8001, cache_dir=Path("/cache"), host="127.0.0.1"), 2
    )
    assert told.extra_args == ("--log-verbose=1", "--a=b c")
    assert (told.grpc, told.gpus, told.runtime_dir) == (("127.0.0.1", 8001), 2, Path("/cache/triton"))
    assert part_options.triton(Settings(), 0).grpc is None


@pytest.mark.parametrize("kind", ["embedded", "triton"])
def test_an_engine_that_is_named_is_taken(kind):
    assert part_options.engine_kind(Settings(engine=kind)) == kind


def host_tier(gpus=0, resident=0, **said):
    budget = part_options.host_tier(Settings(**said), gpus, lambda: 1000, lambda: resident)
    return None if budget is None else budget()


def test_the_host_tier_takes_what_is_said_or_what_residents_leave_of_a_gpu_host():
    assert host_tier() is None, "without a GPU the device is this very memory"
    assert host_tier(gpus=1) == 750
    assert host_tier(gpus=1, resident=600) == 150
    assert host_tier(gpus=1, resident=900) == 0
    assert host_tier(host_tier="2KiB") == 2048
    assert host_tier(gpus=1, host_tier=0) is None


def test_batching_is_left_to_triton_for_single_models_and_can_be_turned_off():
    embedded = part_options.batching(Settings(engine="embedded"), gpus=0)
    assert embedded is not None
    assert embedded.self_batching == {"python", "dali"}
    assert embedded.side_by_side >= 2
    on_gpus = part_options.batching(Settings(engine="embedded"), gpus=1)
    assert on_gpus is not None
    assert on_gpus.side_by_side == 2
    triton = part_options.batching(Settings(engine="triton"), gpus=0)
    assert triton is not None
    assert triton.self_batching == {"*"}
    assert part_options.batching(Settings(batching="off"), gpus=0) is None
