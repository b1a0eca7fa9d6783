"""`pb_utils.ModelConfig` and the look-ups in a configuration."""

import json

import pytest

from server.engines.embedded.python_steps import configuration
from server.engines.embedded.python_steps.configuration import ModelConfig

TENSOR = {"name": "T", "data_type": "TYPE_FP32", "dims": [4]}


def config(**values) -> ModelConfig:
    return ModelConfig(json.dumps({"name": "m", "max_batch_size": 0, "input": [], "output": [], **values}))


def test_look_ups_by_name():
    values = {"input": [TENSOR], "model_transaction_policy": {"decoupled": True}}

    assert configuration.get_input_config_by_name(values, "T") == TENSOR
    assert configuration.get_input_config_by_name(values, "U") is None
    assert configuration.get_output_config_by_name(values, "T") is None
    assert configuration.using_decoupled_model_transaction_policy(values)
    assert not configuration.using_decoupled_model_transaction_policy({})


@pytest.mark.parametrize("kind", ["input", "output"])
def test_a_tensor_is_added_once_and_blanks_are_filled(kind):
    completed = config(**{kind: [{"name": "T", "data_type": "TYPE_INVALID", "dims": [], "label_filename": "l"}]})
    for _ in range(2):
        getattr(completed, f"add_{kind}")(TENSOR)
    getattr(completed, f"add_{kind}")({**TENSOR, "name": "U"})

    assert completed.as_dict()[kind] == [{**TENSOR, "label_filename": "l"}, {**TENSOR, "name": "U"}]


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ({**TENSOR, "dims": [5]}, r"input 'T' dims of model 'm' is \[4\] in its configuration, .* sets \[5\]"),
        ({**TENSOR, "data_type": "TYPE_INT8"}, "data_type"),
        ({**TENSOR, "optional": True}, "optional"),
        ({"name": "T", "dims": [4]}, "input 'T' lacks the property 'data_type'"),
        ({**TENSOR, "format": 1}, "input 'T' has the property 'format'"),
    ],
)
def test_contradictions_and_wrong_properties_are_refused(tensor, message):
    with pytest.raises(ValueError, match=message):
        config(input=[{**TENSOR, "optional": False}]).add_input(tensor)


def test_an_output_is_never_optional():
    with pytest.raises(ValueError, match="output 'T' has the property 'optional'"):
        config().add_output({**TENSOR, "optional": True})


def test_the_batch_limit_only_grows():
    completed = config(max_batch_size=4)
    completed.set_max_batch_size(8)

    assert completed.as_dict()["max_batch_size"] == 8
    with pytest.raises(ValueError, match="max_batch_size"):
        completed.set_max_batch_size(0)


def test_dynamic_batching_keeps_what_is_written_and_fits_no_other_scheduler():
    completed = config(dynamic_batching={"max_queue_delay_microseconds": 5})
    completed.set_dynamic_batching()

    assert completed.as_dict()["dynamic_batching"] == {"max_queue_delay_microseconds": 5}
    with pytest.raises(ValueError, match="sequence_batching"):
        config(sequence_batching={}).set_dynamic_batching()


def test_the_transaction_policy_can_be_set_but_not_changed():
    completed = config()
    completed.set_model_transaction_policy({"decoupled": True})

    assert completed.as_dict()["model_transaction_policy"] == {"decoupled": True}
    with pytest.raises(ValueError, match="decoupled"):
        completed.set_model_transaction_policy({"decoupled": False})
    with pytest.raises(ValueError, match="no property 'other'"):
        completed.set_model_transaction_policy({"other": 1})
