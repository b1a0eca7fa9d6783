"""Triton's messages in our words. The texts are the real Triton's (2.51)."""

import pytest

from server.domain.errors import (
    DeviceFull,
    EngineLost,
    InferenceFailed,
    InvalidArchive,
    InvalidRequest,
    LoadFailed,
    NotReady,
    UnsupportedModel,
)
from server.engines.triton.wire.errors import Refused, Subject, broken_model, infer_error, load_error, readable

MODEL = "rh_" + "0123456789abcdef" * 2
SUBJECT = Subject("BLOOM", "gpu:0", {MODEL: "BLOOM"})
FAILED = f"load failed for model '{MODEL}': version 1 is at UNAVAILABLE state: "

LOADS = [
    (FAILED + "Invalid argument: unable to find backend library for backend 'tensorrt', try ...;\n", UnsupportedModel),
    (FAILED + f"Invalid argument: instance group {MODEL}_0 of model {MODEL} has kind KIND_GPU but no GPUs are available;",
     UnsupportedModel),
    (FAILED + f"Invalid argument: instance group {MODEL}_0 of model {MODEL} specifies invalid or unsupported gpu id 0.;",
     UnsupportedModel),
    (FAILED + "Internal: AttributeError: module '1.model' has no attribute 'TritonPythonModel';\n", LoadFailed),
    (FAILED + f"Internal: Stub process '{MODEL}_0' is not healthy.;\n", LoadFailed),
    (FAILED + "Internal: ValueError: no BLOOM here\n;\n", LoadFailed),
    (FAILED + "Internal: ValueError: ROOM is too small;\n", LoadFailed),
    (FAILED + "Internal: MemoryError: x;\n", DeviceFull),
    (FAILED + "Internal: onnx runtime error 6: CUDA out of memory;", DeviceFull),
    (f"can not create model '{MODEL}': memory limit set for KIND_GPU 0 has exceeded, model loading is rejected.",
     DeviceFull),
    (f"load failed for model '{MODEL}': at least one version must be available under the version policy of model",
     InvalidArchive),
    (FAILED + "Internal: ValueError: the graph has no input 'X'; it has Y;", InvalidArchive),
    ("anything else", LoadFailed),
]  # fmt: skip

INFERENCES = [
    (400, "[request id: <id_unknown>] inference input 'X' data-type is 'INT32', but model 'm' expects", InvalidRequest),
    (400, f"unexpected inference input 'X' for model '{MODEL}'", InvalidRequest),
    (404, f"Request for unknown model: '{MODEL}' is not found", EngineLost),
    (404, "what the model says is not there", InferenceFailed),
    (500, f"Failed to process the request(s) for model '{MODEL}_0', message: ValueError: BLOOM", InferenceFailed),
    (500, "CUDA error: out of memory", DeviceFull),
    (501, "HTTP end point doesn't support models with decoupled transaction policy", UnsupportedModel),
    (501, "the model does not know how", InferenceFailed),
    (503, "[request id: <id_unknown>] Exceeds maximum queue size", NotReady),
    (503, "the model is tired", InferenceFailed),
    (418, "a teapot", InferenceFailed),
]


@pytest.mark.parametrize(("text", "kind"), LOADS)
def test_load_table(text, kind):
    assert type(load_error(Refused(400, text), SUBJECT)) is kind


@pytest.mark.parametrize(("status", "text", "kind"), INFERENCES)
def test_infer_table(status, text, kind):
    assert type(infer_error(Refused(status, text), SUBJECT)) is kind


@pytest.mark.parametrize("name", ["OOM", "MemoryError", "out of memory"])
def test_a_models_name_never_means_that_memory_is_full(name):
    subject = Subject(name, "cpu", {MODEL: name})
    text = f"Failed to process the request(s) for model '{MODEL}_0', message: no luck with {name}"
    assert type(infer_error(Refused(500, text), subject)) is InferenceFailed


def test_the_full_device_is_the_one_that_the_text_is_about():
    assert load_error(Refused(500, "CUDA out of memory"), SUBJECT).device == "gpu:0"
    assert load_error(Refused(500, "MemoryError"), SUBJECT).device == "cpu"


def test_callers_see_the_authors_names_and_no_folder_of_this_host():
    text = f"{FAILED}Internal: ValueError: x\n\nAt:\n  /srv/run/repository/{MODEL}/1/model.py(6): initialize\n;\n"
    assert readable(text, {MODEL: "tokenizer"}) == "Internal: ValueError: x\n\nAt:\n  model.py(6): initialize"
    assert readable(f"model '{MODEL}_0_1' and 'rh_{'f' * 32}n2_0'", {MODEL: "tokenizer"}) == (
        "model 'tokenizer' and 'another step'"
    )


@pytest.mark.parametrize("instance", [f"{MODEL}_0", f"{MODEL}_0_1", f"{MODEL}n3_0_0"])
def test_a_dead_process_names_its_model(instance):
    told = broken_model(Refused(500, f"Stub process '{instance}' is not healthy."))
    assert told == instance.rstrip("_01")


def test_other_failures_break_nothing():
    assert broken_model(Refused(500, "told")) is None
