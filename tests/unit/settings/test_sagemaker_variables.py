"""SageMaker's and Triton's variables: which setting each stands for, and why some stand for none."""

import pytest

from server.settings.load import SettingsError, load_settings
from server.settings.sagemaker import from_sagemaker
from server.settings.triton_arguments import sorted_out


def settings(**variables):
    return load_settings({}, None, variables)[0]


def remarks(**variables):
    return from_sagemaker(variables)[1]


@pytest.mark.parametrize(
    ("variables", "name", "value"),
    [
        ({"SAGEMAKER_BIND_TO_PORT": "9001"}, "port", 9001),
        ({"SAGEMAKER_TRITON_ALLOW_METRICS": "true"}, "metrics_port", 8002),
        (
            {"SAGEMAKER_TRITON_ALLOW_METRICS": "True", "SAGEMAKER_TRITON_METRICS_PORT": "9002"},
            "metrics_port",
            9002,
        ),
        ({"SAGEMAKER_TRITON_ALLOW_METRICS": "false", "SAGEMAKER_TRITON_METRICS_PORT": "9002"}, "metrics_port", None),
        ({"SAGEMAKER_TRITON_ALLOW_GRPC": "true"}, "grpc_port", 8001),
        ({"SAGEMAKER_TRITON_ALLOW_GRPC": "1", "SAGEMAKER_TRITON_GRPC_PORT": "9003"}, "grpc_port", 9003),
        ({}, "grpc_port", None),
        ({"SAGEMAKER_SAFE_PORT_RANGE": "20000-30000"}, "safe_ports", range(20000, 30001)),
        ({"SAGEMAKER_TRITON_MODEL_LOAD_GPU_LIMIT": "0.75"}, "gpu_memory_fraction", 0.75),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "6"}, "max_body", 6 * 1024**2),
        ({"SAGEMAKER_MODEL_SERVER_TIMEOUT": "30"}, "request_timeout_s", 30.0),
        (
            {"SAGEMAKER_MODEL_SERVER_TIMEOUT": "1", "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": "7"},
            "request_timeout_s",
            7.0,
        ),
        ({"SAGEMAKER_STARTUP_TIMEOUT": "120"}, "preload_timeout_s", 120.0),
        ({"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "application/x-npy"}, "default_accept", "application/x-npy"),
        ({"SAGEMAKER_CONTAINER_LOG_LEVEL": "30", "SAGEMAKER_TRITON_LOG_VERBOSE": "true"}, "log_level", "warning"),
        ({"SAGEMAKER_TRITON_LOG_VERBOSE": "1"}, "log_level", "debug"),
        ({"SAGEMAKER_TRITON_LOG_VERBOSE": "false", "SAGEMAKER_TRITON_LOG_INFO": "true"}, "log_level", "info"),
        ({"SAGEMAKER_TRITON_LOG_INFO": "false"}, "log_level", "warning"),
        ({"SAGEMAKER_TRITON_LOG_INFO": "false", "SAGEMAKER_TRITON_LOG_WARNING": "0"}, "log_level", "error"),
        ({"SAGEMAKER_TRITON_SHM_DEFAULT_BYTE_SIZE": "4096"}, "triton_shm_default", 4096),
        ({"SAGEMAKER_TRITON_SHM_GROWTH_BYTE_SIZE": "4096"}, "triton_shm_growth", 4096),
        ({"SAGEMAKER_TRITON_PING_MODE": "anything"}, "ping_mode", "ready"),
        ({"SAGEMAKER_TRITON_OVERRIDE_PING_MODE": "live"}, "ping_mode", "live"),
        ({"SAGEMAKER_BIND_TO_PORT": " "}, "port", 8080),
    ],
)
def test_a_variable_reaches_its_setting(variables, name, value):
    assert getattr(settings(**variables), name) == value


@pytest.mark.parametrize(
    ("variable", "why"),
    [
        ("SAGEMAKER_TRITON_THREAD_COUNT", "one event loop"),
        ("SAGEMAKER_TRITON_BUFFER_MANAGER_THREAD_COUNT", "buffers"),
        ("SAGEMAKER_TRITON_TENSORFLOW_VERSION", "no TensorFlow"),
        ("SAGEMAKER_TRITON_DISABLE_MODEL_NAMESPACING", "equal names in different archives never meet"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "config.pbtxt"),
        ("SAGEMAKER_PROGRAM", "python step"),
    ],
)
def test_a_variable_without_effect_says_why(variable, why):
    (remark,) = remarks(**{variable: "8"})
    assert remark.startswith(f"{variable} has no effect here: ")
    assert why in remark


def test_a_port_that_nobody_allows_is_remarked_upon():
    assert remarks(SAGEMAKER_TRITON_GRPC_PORT="9003") == [
        "SAGEMAKER_TRITON_GRPC_PORT has no effect without SAGEMAKER_TRITON_ALLOW_GRPC=true"
    ]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {"SAGEMAKER_SAFE_PORT_RANGE": "20000-30000", "SAGEMAKER_TRITON_ALLOW_METRICS": "true"},
            "metrics_port 8002 is outside safe_port_range 20000-30000",
        ),
        (
            {
                "SAGEMAKER_SAFE_PORT_RANGE": "20000-30000",
                "SAGEMAKER_TRITON_ALLOW_GRPC": "true",
                "SAGEMAKER_TRITON_GRPC_PORT": "30001",
            },
            "grpc_port 30001 is outside",
        ),
        (
            {"SAGEMAKER_TRITON_ALLOW_GRPC": "true", "SAGEMAKER_TRITON_GRPC_PORT": "8080"},
            "grpc_port 8080 is taken by port",
        ),
        ({"ROUNDHOUSE_METRICS_PORT": "9", "ROUNDHOUSE_GRPC_PORT": "9"}, "grpc_port 9 is taken by metrics_port"),
        ({"SAGEMAKER_SAFE_PORT_RANGE": "30000"}, "is not a range of ports"),
        ({"SAGEMAKER_SAFE_PORT_RANGE": "3-1"}, "is not a range of ports"),
        ({"SAGEMAKER_SAFE_PORT_RANGE": "0-70000"}, "is not a range of ports"),
        ({"SAGEMAKER_TRITON_MODEL_LOAD_GPU_LIMIT": "1.5"}, "gpu_memory_fraction: .* less than or equal to 1"),
        ({"SAGEMAKER_MODEL_SERVER_TIMEOUT": "0"}, "request_timeout_s"),
    ],
)
def test_what_cannot_be_is_refused_with_the_settings_name(variables, words):
    with pytest.raises(SettingsError, match=words):
        settings(**variables)


def test_the_platforms_own_port_need_not_be_in_the_range():
    found = settings(
        SAGEMAKER_BIND_TO_PORT="8080",
        SAGEMAKER_SAFE_PORT_RANGE="20000-20001",
        SAGEMAKER_TRITON_ALLOW_METRICS="true",
        SAGEMAKER_TRITON_METRICS_PORT="20001",
    )
    assert (found.port, found.metrics_port) == (8080, 20001)


def test_additional_arguments_for_tritons_http_are_ours():
    line = (
        "--http-restricted-api=inference,health:X-Key=a --backend-config=onnxruntime,x=1 --log-info 0 "
        "--http-restricted-api model-repository:Other='b c' --load-model=helper"
    )
    found, said = from_sagemaker({"SAGEMAKER_TRITON_ADDITIONAL_ARGS": line})
    assert found["restrict_api"] == ("inference,health:X-Key=a", "model-repository:Other=b c")
    assert found["triton_args"] == "--backend-config=onnxruntime,x=1 --log-info=0"
    (remark,) = said
    assert remark.startswith("--load-model in SAGEMAKER_TRITON_ADDITIONAL_ARGS has no effect here: the models that")


@pytest.mark.parametrize(
    ("line", "left"),
    [("", ""), ("--a=1", "--a=1"), ("--a --b 2", "--a --b=2"), ("stray --a", "stray --a"), ("--a='", "--a='")],
)
def test_other_arguments_are_handed_on(line, left):
    assert sorted_out(line).for_triton == left


def test_a_variable_may_restrict_several_groups():
    found = settings(ROUNDHOUSE_RESTRICT_API="inference,health:A=b model-repository:C=d")
    assert found.restrict_api == ("inference,health:A=b", "model-repository:C=d")
