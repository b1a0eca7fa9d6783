"""What a step finds in its `triton_python_backend_utils`, and what it may not do with it."""

import logging

import numpy as np
import pytest

from server.domain.inference import InferenceResponse as Answer
from server.engines.embedded.python_steps.observing import MetricKind
from server.engines.embedded.python_steps.responses import InferenceResponseSender, Reply
from server.engines.embedded.python_steps.utils_module import make_utils

PUBLIC = """
    Tensor InferenceRequest InferenceResponse InferenceResponseSender TritonError TritonModelException ModelConfig
    Logger MetricFamily PreferredMemory TRITONSERVER_MEMORY_CPU TRITONSERVER_MEMORY_GPU
    TRITONSERVER_RESPONSE_COMPLETE_FINAL TRITONSERVER_REQUEST_FLAG_SEQUENCE_START TRITONSERVER_REQUEST_FLAG_SEQUENCE_END
    TRITONSERVER_REQUEST_RELEASE_ALL TRITONSERVER_REQUEST_RELEASE_RESCHEDULE TRITON_STRING_TO_NUMPY
    get_input_tensor_by_name get_output_tensor_by_name get_input_config_by_name get_output_config_by_name
    using_decoupled_model_transaction_policy triton_to_numpy_type numpy_to_triton_type triton_string_to_numpy
    serialize_byte_tensor deserialize_bytes_tensor get_model_dir load_model unload_model is_model_ready
"""


@pytest.fixture
def logged() -> list[tuple[int, str]]:
    return []


@pytest.fixture
def utils(logged):
    return make_utils("/models/m/1", None, lambda level, text: logged.append((level, text)))


def test_every_public_name_of_the_original_is_there(utils):
    assert set(PUBLIC.split()) - set(vars(utils)) == set()


def test_the_logger_writes_with_its_level(utils, logged):
    utils.Logger.log_info("a")
    utils.Logger.log_warn("b")
    utils.Logger.log_error("c")
    utils.Logger.log_verbose("d")
    utils.Logger.log("e", utils.Logger.WARNING)

    levels = [logging.INFO, logging.WARNING, logging.ERROR, logging.DEBUG, logging.WARNING]
    assert logged == list(zip(levels, "abcde", strict=True))


def test_models_are_loaded_and_unloaded_by_the_archive_only(utils):
    assert not utils.is_model_ready("other")
    with pytest.raises(utils.TritonModelException, match="cannot load or unload 'other'"):
        utils.load_model("other")


def test_requests_and_responses_check_what_they_are_given(utils):
    tensor = utils.Tensor("T", np.zeros(1))

    with pytest.raises(TypeError, match="needs inputs="):
        utils.InferenceRequest(model_name="m")
    with pytest.raises(TypeError, match="inputs holds ndarray"):
        utils.InferenceRequest(model_name="m", inputs=[np.zeros(1)], requested_output_names=[])
    with pytest.raises(TypeError, match="output_tensors holds ndarray"):
        utils.InferenceResponse([np.zeros(1)])
    with pytest.raises(TypeError, match="must be a list"):
        utils.InferenceResponse(tensor)
    with pytest.raises(TypeError, match=r"must be a pb_utils\.TritonError, not str"):
        utils.InferenceResponse(error="bad")


def test_a_request_of_the_models_own_has_no_sender_and_no_callee_here(utils):
    request = utils.InferenceRequest(model_name="m", inputs=[], requested_output_names=["O"], flags=1, timeout=5)
    request.set_flags(2)

    assert (request.model_name(), request.flags(), request.timeout(), request.is_cancelled()) == ("m", 2, 5, False)
    with pytest.raises(utils.TritonModelException, match="have a response sender"):
        request.get_response_sender()
    with pytest.raises(utils.TritonModelException, match="auto_complete_config"):
        request.exec()
    with pytest.raises(utils.TritonModelException, match="does not reschedule"):
        request.set_release_flags(utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)


def test_an_error_response_tells_message_and_code(utils):
    response = utils.InferenceResponse(error=utils.TritonError("no", utils.TritonError.NOT_FOUND))

    assert response.has_error()
    assert (response.error().message(), response.error().code(), response.output_tensors()) == ("no", 2, [])


def reply(answers: list[Answer], *, is_decoupled: bool) -> Reply:
    return Reply("m", answers.append, lambda: False, is_decoupled=is_decoupled)


def test_a_sender_refuses_what_makes_no_sense(utils):
    sender = InferenceResponseSender(reply([], is_decoupled=True))

    with pytest.raises(utils.TritonModelException, match="flags must be 0 or"):
        sender.send(flags=4)
    with pytest.raises(TypeError, match=r"must be a pb_utils\.InferenceResponse"):
        sender.send("text")
    with pytest.raises(utils.TritonModelException, match="cannot send nothing"):
        sender.send()
    sender.send(flags=1)
    with pytest.raises(utils.TritonModelException, match="final one was sent already"):
        sender.send(utils.InferenceResponse([]))


def test_a_model_that_is_not_decoupled_sends_exactly_one_response(utils):
    answers: list[Answer] = []
    sender = InferenceResponseSender(reply(answers, is_decoupled=False))

    with pytest.raises(utils.TritonModelException, match="cannot end without a response"):
        sender.send(flags=1)
    sender.send(utils.InferenceResponse([utils.Tensor("O", np.zeros(1))]))
    with pytest.raises(utils.TritonModelException, match="second response"):
        sender.send(utils.InferenceResponse([]))
    sender.send(flags=1)
    assert [answer.outputs[0].name for answer in answers] == ["O"]


@pytest.mark.parametrize(
    ("kind", "allowed"), [("COUNTER", {"increment"}), ("GAUGE", {"increment", "set"}), ("HISTOGRAM", {"observe"})]
)
def test_metrics_count_for_the_model(utils, kind, allowed):
    metric = utils.MetricFamily("n", "d", getattr(utils.MetricFamily, kind)).Metric({"label": "x"})

    for method in ("increment", "set", "observe"):
        if method in allowed:
            getattr(metric, method)(2)
        else:
            with pytest.raises(ValueError, match=MetricKind[kind].name.lower()):
                getattr(metric, method)(2)
    assert metric.value() == 2
