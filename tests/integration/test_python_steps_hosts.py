"""What a Python step may rely on, in the server's process and in one of its own: one suite for both hosts."""

import contextlib
from collections.abc import Iterator

import numpy as np
import pytest

from server.domain.errors import InferenceFailed, InvalidArchive, InvalidRequest, LoadFailed
from server.domain.inference import NUMPY_BY_DATATYPE, InferenceRequest, Tensor
from tests.unit.python_steps.step_folders import ECHO, StepRig, output_of, request_of

HOSTS = ["in-process", "isolated"]


@pytest.fixture(params=HOSTS)
def rig(request, tmp_path) -> Iterator[StepRig]:
    rig = StepRig(request.param, tmp_path)
    yield rig
    rig.close()


@pytest.fixture(scope="module", params=HOSTS)
def scripted(request, tmp_path_factory) -> Iterator:
    """A step that runs the Python text it is sent: `requests` and `pb_utils` are at hand, `answer` makes a response."""
    rig = StepRig(request.param, tmp_path_factory.mktemp("scripted"))
    yield rig.load(SCRIPTED, datatype="BYTES")
    rig.close()


SCRIPTED = """
    import os, sys
    import numpy as np
    import triton_python_backend_utils as pb_utils

    def answer(text, **more):
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([text], np.object_))], **more)

    class TritonPythonModel:
        def execute(self, requests):
            request = requests[0]
            names = dict(globals(), request=request, requests=requests, self=self)
            exec(request.inputs()[0].as_numpy()[0].decode(), names)
            return names["result"]
"""


def run(step, script: str, **more) -> list:
    return output_of(step.execute(request_of(script.encode(), datatype="BYTES", **more)))


@pytest.mark.parametrize("datatype", ["FP16", "INT64", "BOOL", "BF16"])
def test_echo_keeps_datatype_shape_and_values(rig, datatype):
    step = rig.load(ECHO, datatype=datatype)
    data = np.arange(6).reshape(2, 3).astype(NUMPY_BY_DATATYPE[datatype])

    response = step.execute(InferenceRequest({"IN": Tensor("IN", datatype, data)}))

    assert response.outputs[0].datatype == datatype
    assert response.outputs[0].data.dtype == data.dtype
    np.testing.assert_array_equal(response.outputs[0].data, data)


def test_echo_carries_text_of_any_kind_and_length(rig):
    step = rig.load(ECHO, datatype="BYTES")
    words = [b"", "\u00fcber".encode(), b"\x00\xff", b"x" * 400_000]

    assert output_of(step.execute(request_of(*words, datatype="BYTES"))) == words


def test_large_and_empty_tensors_cross(rig):
    step = rig.load(ECHO)
    large = np.arange(3_000_000, dtype=np.float32).reshape(2, 3, -1)

    for data in (large, large[:, ::2], np.zeros((0, 3), np.float32)):
        response = step.execute(InferenceRequest({"IN": Tensor("IN", "FP32", data)}))
        np.testing.assert_array_equal(response.outputs[0].data, data)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("1 / 0", "step 'step': ZeroDivisionError: division by zero"),
        ("sys.exit(3)", "step 'step': exited with code 3 (sys.exit)"),
        ("raise pb_utils.TritonModelException('no')", "step 'step': TritonModelException: no"),
        ("result = [pb_utils.InferenceResponse(error=pb_utils.TritonError('bad word'))]", "step 'step': bad word"),
        ("result = None", "execute must return a list of InferenceResponse, not NoneType"),
        ("result = []", "execute must return one response per request: 1 request, 0 responses"),
        ("result = ['x']", "execute must return InferenceResponse objects, not str"),
        ("result = [None]", "execute returned no response and sent none"),
        ("result = [pb_utils.InferenceResponse([])]", "gave no output 'OUT'"),
        (
            "result = [pb_utils.InferenceResponse([pb_utils.Tensor('OUT', np.zeros(1, np.int8))])]",
            "gave output 'OUT' as INT8, but its configuration says BYTES",
        ),
        ("pb_utils.Tensor('OUT', np.array(['x']))", "use np.object_ for text"),
        ("open(os.path.join(self.nowhere, 'x'))", "AttributeError"),
    ],
)
def test_what_goes_wrong_in_a_model_is_told_and_survived(scripted, script, message):
    with pytest.raises(InferenceFailed) as failure:
        run(scripted, script)

    assert message in str(failure.value)
    assert "Traceback" not in str(failure.value)
    assert run(scripted, "result = [answer('alive')]") == [b"alive"]


def test_an_error_of_code_invalid_arg_is_the_callers(scripted):
    error = "pb_utils.TritonError('too long', pb_utils.TritonError.INVALID_ARG)"

    with pytest.raises(InvalidRequest, match="step 'step': too long"):
        run(scripted, f"result = [pb_utils.InferenceResponse(error={error})]")


@pytest.mark.parametrize("parameters", ["{1: 2}", "{'a': np.int64(1)}", "{'a': None}"])
def test_parameters_that_json_cannot_carry_are_refused(scripted, parameters):
    with pytest.raises(InferenceFailed, match="parameters are str, int, float or bool"):
        run(scripted, f"result = [answer('x', parameters={parameters})]")


def test_messages_do_not_tell_where_files_lie(scripted, tmp_path_factory):
    with pytest.raises(InferenceFailed) as failure:
        run(scripted, "open(os.path.join(pb_utils.get_model_dir(), 'missing.txt'))")

    assert "step/1/missing.txt" in str(failure.value)
    assert str(tmp_path_factory.getbasetemp()) not in str(failure.value)


def test_a_request_tells_its_id_outputs_and_parameters(scripted):
    script = """
import json
told = [request.request_id(), request.requested_output_names(), json.loads(request.parameters()),
        request.inputs()[0].shape(), request.inputs()[0].triton_dtype(), request.is_cancelled(),
        request.correlation_id()]
result = [answer(json.dumps(told))]
"""
    told = run(scripted, script, id="r1", outputs=("OUT",), parameters={"k": 5, "sequence_id": 9})

    assert told == [b'["r1", ["OUT"], {"k": 5, "sequence_id": 9}, [1], 13, false, 9]']


def test_all_outputs_are_requested_where_the_caller_names_none(scripted):
    assert run(scripted, "result = [answer(','.join(request.requested_output_names()))]") == [b"OUT"]


def test_response_parameters_come_back(scripted):
    request = request_of(b"result = [answer('x', parameters={'tokens': 3})]", datatype="BYTES")

    assert scripted.execute(request).parameters == {"tokens": 3}


def test_a_response_may_be_sent_from_a_thread_of_the_models(scripted):
    script = """
import threading
sender = request.get_response_sender()
def later(sender=sender):
    sender.send(answer('sent'), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
threading.Thread(target=later).start()
result = [None]
"""
    assert run(scripted, script) == [b"sent"]


def test_a_second_response_is_refused(scripted):
    with pytest.raises(InferenceFailed, match="cannot send a response: the final one was sent already"):
        run(scripted, "request.get_response_sender().send(answer('1'), 1)\nresult = [answer('2')]")


def test_a_step_that_is_not_decoupled_streams_its_one_answer(rig):
    step = rig.load(ECHO)

    assert [output_of(answer) for answer in step.stream(request_of(1, 2))] == [[1.0, 2.0]]


LIFE = """
    import json
    import numpy as np
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def initialize(self, args):
            self.args = args
            self.config = json.loads(args["model_config"])

        def execute(self, requests):
            output = pb_utils.get_output_config_by_name(self.config, "OUT")
            told = [sorted(self.args), self.config["max_batch_size"], output["data_type"], output["dims"],
                    self.config["parameters"]["LABEL"]["string_value"], self.args["model_name"],
                    self.args["model_version"], self.args["model_instance_kind"],
                    self.args["model_instance_device_id"], self.args["model_instance_name"],
                    pb_utils.triton_string_to_numpy(output["data_type"]) is np.object_,
                    pb_utils.using_decoupled_model_transaction_policy(self.config)]
            return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([json.dumps(told)], np.object_))])]

        def finalize(self):
            pb_utils.Logger.log_warn("finalized " + self.args["model_name"])
"""


def test_initialize_gets_tritons_arguments_and_finalize_is_called(rig, caplog):
    step = rig.load(LIFE, datatype="BYTES", extra='parameters { key: "LABEL" value: { string_value: "x" } }')
    told = output_of(step.execute(request_of(b"", datatype="BYTES")))[0].decode()
    step.close()

    keys = '["model_config", "model_instance_device_id", "model_instance_kind", "model_instance_name", "model_name", '
    keys += '"model_repository", "model_version"]'
    assert told == f'[{keys}, 0, "TYPE_STRING", [-1], "x", "step", "1", "CPU", "0", "step_0_0", true, false]'
    assert ("WARNING", "finalized step") in [(r.levelname, r.getMessage().split(": ")[-1]) for r in caplog.records]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nonsense_that_is_missing", "step 'step': ModuleNotFoundError: No module named 'nonsense"),
        ("x = (", "step 'step': SyntaxError"),
        ("class Model: pass", "step 'step': the model file defines no class TritonPythonModel"),
        ("class TritonPythonModel: pass", "step 'step': TritonPythonModel has no method execute"),
        ("import sys; sys.exit(4)", "step 'step': exited with code 4 (sys.exit)"),
        (
            "class TritonPythonModel:\n    def initialize(self, args): raise ValueError(args['model_repository'])",
            "step 'step': ValueError: step",
        ),
    ],
)
def test_a_step_that_cannot_load_says_why(rig, code, message):
    with pytest.raises(LoadFailed) as failure:
        rig.load(code)

    assert str(failure.value).startswith(message)


def test_a_step_without_a_model_file_is_an_invalid_archive(rig):
    with pytest.raises(InvalidArchive, match=r"has no file 1/other\.py"):
        rig.load(ECHO, extra='default_model_filename: "other.py"')


SIBLING = """
    import dataclasses
    import numpy as np
    import triton_python_backend_utils as pb_utils
    import logic, pack.deep
    from logic import WORD
    from pack import deep as also_deep

    class TritonPythonModel:
        def execute(self, requests):
            import late
            from . import logic as relative
            text = WORD + relative.WORD + pack.deep.word() + also_deep.word() + late.WORD
            return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([text], np.object_))])]
"""


def sibling_files(word: str) -> dict[str, str]:
    return {
        "logic.py": f"WORD = '{word}'",
        "late.py": f"WORD = '{word}-late'",
        "pack/__init__.py": "",
        "pack/deep.py": "def word():\n    from logic import WORD\n    return WORD\n",
        "tokenizers/vocabulary.txt": "a folder of data that has the name of a library",
    }


def test_two_steps_keep_their_siblings_of_the_same_name_apart(rig):
    one = rig.load(SIBLING, name="one", datatype="BYTES", files=sibling_files("a"))
    two = rig.load(SIBLING, name="two", datatype="BYTES", files=sibling_files("b"))

    request = request_of(b"", datatype="BYTES")
    assert [output_of(one.execute(request)), output_of(two.execute(request))] == [[b"aaaaa-late"], [b"bbbbb-late"]]


def test_loading_and_running_writes_nothing_into_the_folder(rig, tmp_path):
    step = rig.load(SIBLING, datatype="BYTES", files=sibling_files("a"))
    before = set(tmp_path.rglob("*"))
    step.execute(request_of(b"", datatype="BYTES"))
    step.close()

    assert set(tmp_path.rglob("*")) == before
    assert not [path for path in before if path.name == "__pycache__"]


ASYNC = """
    import asyncio
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        async def execute(self, requests):
            await asyncio.sleep(0)
            value = requests[0].inputs()[0].as_numpy()
            if value[0] < 0:
                raise ValueError("negative")
            return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", value)])]
"""


def test_execute_may_be_a_coroutine(rig):
    step = rig.load(ASYNC)

    assert output_of(step.execute(request_of(1))) == [1.0]
    with pytest.raises(InferenceFailed, match="step 'step': ValueError: negative"):
        step.execute(request_of(-1))
    assert output_of(step.execute(request_of(2))) == [2.0]


def test_n_instances_serve_n_requests_at_once(rig):
    """An open stream holds its instance: with one fewer, the second would never answer."""
    step = rig.load(ECHO, extra="instance_group [ { count: 2 kind: KIND_CPU } ]")

    with contextlib.closing(step.stream(request_of(1))) as one, contextlib.closing(step.stream(request_of(2))) as two:
        assert [output_of(next(one)), output_of(next(two))] == [[1.0], [2.0]]


def test_an_unloaded_step_refuses(rig):
    step = rig.load(ECHO)
    step.close()

    with pytest.raises(InferenceFailed, match="step 'step' has been unloaded"):
        step.execute(request_of(1))


def test_an_input_of_an_in_process_step_cannot_be_changed_and_an_isolated_one_is_the_steps_own(rig):
    step = rig.load(ECHO.replace("return [", "requests[0].inputs()[0].as_numpy()[:] = 7\n            return ["))
    request = request_of(1)

    if rig.host == "isolated":
        assert output_of(step.execute(request)) == [7.0]
    else:
        with pytest.raises(InferenceFailed, match="read-only"):
            step.execute(request)
    assert request.inputs["IN"].data.tolist() == [1.0]
