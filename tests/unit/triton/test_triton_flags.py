"""tritonserver's command line."""

from pathlib import Path

import pytest

from server.engines.triton.process.flags import OPERATOR_FLAGS, REPEATABLE_FLAGS, ServerFlags, UnknownFlag, parse_extra
from tests.golden.golden import check


def flags(**changes):
    return ServerFlags(Path("/run/repository"), Path("/run/backends"), 8000, 8001, "roundhouse_x_", **changes)


def test_the_command_line_is_golden():
    check("triton_argv.txt", "\n".join(flags().argv()) + "\n")


def test_an_operators_flag_replaces_ours_or_is_added_to_it():
    extra = parse_extra(["--log-verbose=1", "--backend-config=onnxruntime,x=1", "--log-verbose=2"])
    argv = flags(extra=extra).argv()
    assert [arg for arg in argv if arg.startswith("--log-verbose")] == ["--log-verbose=2"]
    assert [arg for arg in argv if arg.startswith("--backend-config")][-1] == "--backend-config=onnxruntime,x=1"
    assert sum(arg.startswith("--backend-config=python,") for arg in argv) == 3


@pytest.mark.parametrize(
    "argument", ["--model-repository=/etc", "--http-address=0.0.0.0", "--no-such-flag=1", "--log-verbose", "log-info=1"]
)
def test_flags_that_are_not_the_operators_are_refused(argument):
    with pytest.raises(UnknownFlag, match=argument.split("=")[0].removeprefix("--")):
        parse_extra([argument])


def test_what_may_be_repeated_may_be_given():
    assert REPEATABLE_FLAGS <= OPERATOR_FLAGS


def test_a_grpc_port_for_others_keeps_loading_to_ourselves():
    argv = flags(grpc_address="0.0.0.0", grpc_secret="s3cret").argv()
    assert "--grpc-address=0.0.0.0" in argv
    (restricted,) = (word for word in argv if word.startswith("--grpc-restricted-protocol="))
    assert restricted.endswith(":roundhouse=s3cret")
    assert {"model-repository", "shared-memory"} <= set(restricted.split("=")[1].split(":")[0].split(","))
    assert "inference" not in restricted


def test_without_one_nothing_is_restricted():
    assert not any("restricted" in word for word in flags().argv())
