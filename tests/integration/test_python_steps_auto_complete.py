"""`auto_complete_config` of real models, run in a worker process."""

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.domain.errors import InvalidArchive
from server.engines.embedded.python_steps.auto_complete import auto_complete
from tests.fakes.clock import FakeClock
from tests.unit.python_steps.step_folders import ECHO, write_step

COMPLETING = """
    import logic
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        @staticmethod
        def auto_complete_config(config):
            assert config.as_dict()["name"] == "step"
            config.add_input({"name": "IN", "data_type": "TYPE_FP32", "dims": [-1], "optional": True})
            config.add_output({"name": "OUT", "data_type": "TYPE_STRING", "dims": [2, 3]})
            config.set_max_batch_size(8)
            config.set_dynamic_batching()
            config.set_model_transaction_policy({"decoupled": True})
            return config
"""


def config(extra: str = "") -> ModelConfig:
    return text_format.Parse(f'name: "step" backend: "python" {extra}', ModelConfig())


def complete(tmp_path, code: str, extra: str = "", **more) -> ModelConfig:
    return auto_complete(write_step(tmp_path, "step", code, {"logic.py": ""}), config(extra), clock=FakeClock(), **more)


def test_a_model_completes_its_configuration(tmp_path):
    expected = config("""
        max_batch_size: 8 dynamic_batching { } model_transaction_policy { decoupled: true }
        input [ { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] optional: true } ]
        output [ { name: "OUT" data_type: TYPE_STRING dims: [ 2, 3 ] } ]
    """)

    assert complete(tmp_path, COMPLETING) == expected
    assert sorted(path.name for path in (tmp_path / "step" / "1").iterdir()) == ["logic.py", "model.py"]


def test_what_is_written_stays(tmp_path):
    written = """
        max_batch_size: 4 parameters { key: "P" value: { string_value: "v" } } instance_group [ { count: 2 } ]
        dynamic_batching { max_queue_delay_microseconds: 100 } version_policy { specific { versions: [ 1 ] } }
    """

    completed = complete(tmp_path, COMPLETING, written)

    assert completed.max_batch_size == 8
    assert completed.parameters["P"].string_value == "v"
    assert completed.instance_group[0].count == 2
    assert completed.dynamic_batching.max_queue_delay_microseconds == 100
    assert list(completed.version_policy.specific.versions) == [1]


def test_without_the_method_nothing_changes(tmp_path):
    assert complete(tmp_path, ECHO) == config()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "auto_complete_config of step 'step': ZeroDivisionError: division by zero"),
        (
            "class TritonPythonModel:\n    auto_complete_config = staticmethod(lambda config: None)",
            "auto_complete_config of step 'step' must return a pb_utils.ModelConfig",
        ),
        ("import os; os._exit(2)", "auto_complete_config of step 'step': its worker process exited with code 2"),
        (
            COMPLETING.replace("TYPE_FP32", "TYPE_NONSENSE"),
            "the completed configuration is not a model configuration",
        ),
    ],
)
def test_a_model_that_cannot_complete_says_why(tmp_path, code, message):
    with pytest.raises(InvalidArchive) as failure:
        complete(tmp_path, code)

    assert message in str(failure.value)


def test_a_contradiction_is_refused(tmp_path):
    with pytest.raises(InvalidArchive, match="max_batch_size of model 'step' is 16 in its configuration"):
        complete(tmp_path, COMPLETING, "max_batch_size: 16")


def test_a_hang_ends(tmp_path):
    with pytest.raises(InvalidArchive, match=r"did not end within 0\.5 s"):
        complete(tmp_path, "import threading; threading.Event().wait()", timeout_s=0.5)
