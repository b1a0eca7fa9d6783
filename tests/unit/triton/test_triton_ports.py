"""Where tritonserver listens: anywhere on loopback, inside a range that may be used, or where others find its gRPC."""

import socket
from pathlib import Path

import pytest

from server.engines.triton.options import TritonOptions
from server.engines.triton.process.ports import Ports, choose
from server.engines.triton.process.server_process import free_ports


def options(**changes):
    return TritonOptions(Path("/nonexistent"), **changes)


@pytest.fixture
def taken():
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_ports_are_free_and_different():
    found = choose(options())
    assert found.http != found.grpc
    assert (found.grpc_address, found.secret) == ("127.0.0.1", "")


def test_a_range_is_kept_and_taken_ports_are_passed_over(taken):
    found = choose(options(safe_ports=range(taken - 40, taken + 1)))
    assert found.http != found.grpc
    assert {found.http, found.grpc} <= set(range(taken - 40, taken))


def test_a_port_for_others_is_taken_as_it_is_and_has_a_secret():
    first, second = (choose(options(grpc=("0.0.0.0", 8001), safe_ports=None)) for _ in range(2))
    assert (first.grpc, first.grpc_address, first.grpc_target) == (8001, "0.0.0.0", "127.0.0.1:8001")
    assert len(first.secret) >= 32
    assert first.secret != second.secret


def test_our_http_keeps_off_the_port_for_others(taken):
    with pytest.raises(OSError, match="fewer than 1"):
        choose(options(grpc=("0.0.0.0", taken), safe_ports=range(taken, taken + 1)))


def test_an_address_of_one_interface_is_where_we_call_too():
    assert Ports(1, 2, "10.0.0.5", "x").grpc_target == "10.0.0.5:2"


def test_a_full_range_is_named(taken):
    with pytest.raises(OSError, match=f"fewer than 1 ports are free among {taken} to {taken}"):
        free_ports(1, [taken])
