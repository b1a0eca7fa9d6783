"""From a configuration to launches, and Triton's JSON form of it."""

import json

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.domain.errors import InvalidArchive, UnsupportedModel
from server.engines.embedded.python_steps import plan
from server.engines.embedded.python_steps.launch import Launch
from tests.unit.python_steps.step_folders import step_config, step_of, write_step

FULL = """
    name: "m" backend: "python" max_batch_size: 4
    input [ { name: "I" data_type: TYPE_STRING dims: [ -1, 3 ] reshape { shape: [ 3 ] } } ]
    output [ { name: "O" data_type: TYPE_FP16 dims: [ 9000000000 ] } ]
    parameters { key: "P" value: { string_value: "5" } }
    dynamic_batching { max_queue_delay_microseconds: 100
        priority_queue_policy { key: 3 value: { default_timeout_microseconds: 7 max_queue_size: 2 } } }
    version_policy { specific { versions: [ 1, 2 ] } }
    model_warmup [ { name: "w" inputs { key: "I" value: { data_type: TYPE_STRING dims: [ 2 ] zero_data: true } } } ]
"""


def parsed(text: str) -> ModelConfig:
    return text_format.Parse(text, ModelConfig())


def launches(root, extra: str, versions=("1",)):
    folder = write_step(root, "m", "")
    for version in versions[1:]:
        (folder / version).mkdir()
        (folder / version / "model.py").touch()
    config = step_config("m", extra=extra)
    return plan.launches(step_of(folder, config, ("a",)), config)


def test_64_bit_integers_are_numbers_in_the_json():
    values = plan.config_to_json(parsed(FULL))

    assert values["input"][0]["dims"] == [-1, 3]
    assert values["input"][0]["reshape"] == {"shape": [3]}
    assert values["input"][0]["data_type"] == "TYPE_STRING"
    assert values["input"][0]["optional"] is False
    assert values["output"][0]["dims"] == [9_000_000_000]
    assert values["parameters"] == {"P": {"string_value": "5"}}
    assert values["dynamic_batching"]["max_queue_delay_microseconds"] == 100
    assert values["dynamic_batching"]["priority_queue_policy"]["3"]["default_timeout_microseconds"] == 7
    assert values["version_policy"] == {"specific": {"versions": [1, 2]}}
    assert values["model_warmup"][0]["inputs"]["I"]["dims"] == [2]
    assert "model_transaction_policy" not in values


def test_the_json_reads_back_to_the_same_configuration():
    config = parsed(FULL)

    assert plan.config_from_json(json.loads(json.dumps(plan.config_to_json(config)))) == config


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("", [("CPU", "0", "m_0_0")]),
        ("instance_group [ { count: 2 kind: KIND_CPU } ]", [("CPU", "0", "m_0_0"), ("CPU", "0", "m_0_1")]),
        (
            'instance_group [ { kind: KIND_GPU gpus: [ 0, 1 ] }, { name: "x" kind: KIND_CPU } ]',
            [("GPU", "0", "m_0_0"), ("GPU", "1", "m_0_1"), ("CPU", "0", "x_0")],
        ),
    ],
)
def test_instances_are_numbered_as_triton_does(tmp_path, extra, expected):
    keys = ("model_instance_kind", "model_instance_device_id", "model_instance_name")

    assert [tuple(launch.arguments[key] for key in keys) for launch in launches(tmp_path, extra)] == expected


def test_a_model_sees_its_configuration_as_triton_fills_it_in(tmp_path):
    """Compared with what a model prints under tritonserver 2.51."""
    config = json.loads(launches(tmp_path, "instance_group [ { count: 2 } ]")[0].arguments["model_config"])

    assert config["default_model_filename"] == "model.py"
    assert [(group["name"], group["kind"], group["count"]) for group in config["instance_group"]] == [
        ("m_0", "KIND_CPU", 2)
    ]


def test_the_highest_allowed_version_runs(tmp_path):
    newest = launches(tmp_path / "a", "", ("1", "10", "9"))
    chosen = launches(tmp_path / "b", "version_policy { specific { versions: [ 1, 9 ] } }", ("1", "10", "9"))

    assert (newest[0].version, chosen[0].version) == ("10", "9")
    with pytest.raises(InvalidArchive, match="has no version folder"):
        launches(tmp_path / "c", "version_policy { specific { versions: [ 4 ] } }")


@pytest.mark.parametrize("file_name", ["1.py", "model.txt", "sub/model.py"])
def test_the_model_file_must_be_python_and_importable(tmp_path, file_name):
    folder = write_step(tmp_path, "m", "", {file_name: ""})
    config = step_config("m", extra=f'default_model_filename: "{file_name}"')

    with pytest.raises(InvalidArchive, match="is not a Python file in the version folder"):
        plan.launches(step_of(folder, config), config)


def test_a_launch_survives_json(tmp_path):
    launch = launches(tmp_path, "")[0]

    assert Launch.from_json(json.loads(json.dumps(launch.to_json()))) == launch


def test_where_a_step_runs():
    assert plan.runs_in_process(step_config("m", host="in-process"))
    assert not plan.runs_in_process(step_config("m", host="isolated"))
    assert not plan.runs_in_process(parsed(FULL))
    with pytest.raises(InvalidArchive, match="EXECUTION is 'elsewhere'"):
        plan.runs_in_process(step_config("m", host="elsewhere"))


def test_sequences_need_triton(tmp_path):
    with pytest.raises(UnsupportedModel, match="sequence_batching needs the triton engine"):
        launches(tmp_path, "sequence_batching { }")
