"""How a server comes and goes, as an orchestrator sees it: health checks, signals, exit codes, first and last words."""

import signal
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.integration.live_server import LiveServer, end_quietly, free_port, live_server, start
from tests.integration.residency.asking import Client, Reply
from tests.integration.residency.gated_archives import Gate, write_gated
from tests.integration.residency.linear_archives import inputs_of, write_archive
from tests.integration.until import until

EMBEDDED = ("--engine", "embedded")
ASKED_AT_ONCE = 3


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.open()  # a failed test must not leave anybody waiting


def ask(server: LiveServer, archive: str) -> Reply:
    with Client(server) as client:
        return client.infer(archive, inputs_of(1))


def get(server: LiveServer, path: str) -> Reply:
    with Client(server) as client:
        return client.call("GET", path)


def leases(server: LiveServer) -> int:
    with Client(server) as client:
        return sum(resident["leases"] for resident in client.residency()["residents"])


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        yield pool


def begin_requests(server: LiveServer, pool: ThreadPoolExecutor, gate: Gate) -> list["Future[Reply]"]:
    """Requests that are inside the server, the first one inside the model."""
    asked = [pool.submit(ask, server, "slow") for _ in range(ASKED_AT_ONCE)]
    until(lambda: gate.is_reached, what="a request inside the model")
    until(lambda: leases(server) == ASKED_AT_ONCE, what="all requests inside")
    return asked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_running_requests_finish_and_new_ones_are_refused(
    tmp_path: Path, gate: Gate, pool: ThreadPoolExecutor, number: signal.Signals
) -> None:
    write_gated(tmp_path / "store" / "slow", gate)
    with live_server(tmp_path / "server", "--store", tmp_path / "store", *EMBEDDED) as server:
        asked = begin_requests(server, pool, gate)

        server.process.send_signal(number)
        until(lambda: get(server, "/ping").status == 503, what="the ping refused")
        refused = ask(server, "slow")
        were_done = [each.done() for each in asked]
        gate.open()
        answers = [each.result() for each in asked]

        assert (refused.status, "retry-after" in refused.headers) == (503, True), refused
        assert were_done == [False] * ASKED_AT_ONCE
        for answer in answers:
            np.testing.assert_allclose(answer.output, 2 * inputs_of(1), rtol=1e-6)
        assert server.wait() == 0
        assert is_refused(server.port)
        assert "Traceback" not in server.text()


def test_a_request_that_never_ends_does_not_keep_the_server(
    tmp_path: Path, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    write_gated(tmp_path / "store" / "slow", gate)
    flags = ("--store", tmp_path / "store", *EMBEDDED, "--drain-timeout-s", "0.5")
    with live_server(tmp_path / "server", *flags) as server:
        asked = begin_requests(server, pool, gate)

        server.terminate()

        assert server.wait(25) == 0, "SageMaker kills 30 s after SIGTERM"
        assert "did not finish within" in server.text()
        assert "Traceback" not in server.text()
        gate.open()
        assert all(each.exception() or each.result().status >= 500 for each in asked)


def test_ping_is_200_only_after_preloading(tmp_path: Path, gate: Gate) -> None:
    write_gated(tmp_path / "store" / "slow", gate, on_load=True)
    flags = ("--store", tmp_path / "store", *EMBEDDED, "--preload", "slow")
    server = start(tmp_path / "server", *flags, port=free_port())
    try:
        until(lambda: gate.is_reached, what="the preload")
        while_loading = get(server, "/ping").status
        said_while_loading = server.text()
        gate.open()
        server.await_ready()

        assert while_loading == 503
        assert "is ready on" not in said_while_loading
        assert get(server, "/ping").status == 200
        assert ask(server, "slow").warmth == "resident"
        server.stop()
    finally:
        end_quietly(server)


def test_ping_mode_live_says_200_while_preloading(tmp_path: Path, gate: Gate) -> None:
    write_gated(tmp_path / "store" / "slow", gate, on_load=True)
    flags = ("--store", tmp_path / "store", *EMBEDDED, "--preload", "slow", "--ping-mode", "live")
    server = start(tmp_path / "server", *flags, port=free_port())
    try:
        until(lambda: gate.is_reached, what="the preload")
        while_loading = get(server, "/ping").status
        gate.open()
        server.await_ready()

        assert while_loading == 200
        server.stop()
    finally:
        end_quietly(server)


def test_a_signal_while_preloading_ends_it_cleanly(tmp_path: Path, gate: Gate) -> None:
    write_gated(tmp_path / "store" / "slow", gate, on_load=True)
    server = start(tmp_path / "server", "--store", tmp_path / "store", *EMBEDDED, "--preload", "slow")
    try:
        until(lambda: gate.is_reached, what="the preload")
        server.terminate()
        gate.open()

        assert server.wait() == 0
        assert "is ready on" not in server.text()
    finally:
        end_quietly(server)


def ended(server: LiveServer) -> tuple[int, str]:
    """Exit code and last words of a server that should not get ready."""
    try:
        return server.wait(), server.text()
    finally:
        end_quietly(server)


def test_a_missing_preload_is_said_and_exits_1(tmp_path: Path) -> None:
    write_archive(tmp_path / "store" / "here", 1, 1000)

    code, said = ended(start(tmp_path / "server", "--store", tmp_path / "store", *EMBEDDED, "--preload", "here,gone"))

    assert code == 1
    assert "archive 'gone' was not found" in said
    assert "Traceback" not in said


def test_a_taken_port_is_said_and_exits_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        code, said = ended(start(tmp_path / "server", "--store", tmp_path, *EMBEDDED, port=port))

    assert code == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in said
    assert "Traceback" not in said


def test_a_cache_that_another_server_uses_is_said(tmp_path: Path) -> None:
    write_archive(tmp_path / "store" / "here", 1, 1000)
    flags = ("--store", tmp_path / "store", *EMBEDDED)
    with live_server(tmp_path / "server", *flags) as first:
        code, said = ended(start(tmp_path / "server", *flags))

        assert code in {1, 2}
        assert "another server" in said
        assert "Traceback" not in said
        assert ask(first, "here").status == 200


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--memory-budget", "lots"), ("memory_budget", "lots")),
        (("--refresh-s", "-1"), ("refresh_s", "greater than 0")),
        (("--engine", "steam"), ("engine", "steam", "embedded")),
        (("--config", "nowhere.toml"), ("nowhere.toml",)),
        (("--no-such-flag",), ("no-such-flag",)),
    ],
    ids=lambda value: value[0].strip("-") if value[0].startswith("--") else None,
)
def test_a_wrong_setting_is_said(tmp_path: Path, flags: tuple[str, ...], words: tuple[str, ...]) -> None:
    code, said = ended(start(tmp_path / "server", "--store", tmp_path, *flags))

    assert code in {1, 2}
    assert all(word in said for word in words), said
    assert "Traceback" not in said


def test_an_archive_that_nobody_asks_for_leaves_and_comes_back(tmp_path: Path) -> None:
    write_archive(tmp_path / "store" / "idle", 3, 100_000)
    write_archive(tmp_path / "store" / "kept", 4, 100_000)
    flags = ("--store", tmp_path / "store", *EMBEDDED, "--idle-ttl-s", "0.5", "--pin", "kept")
    with live_server(tmp_path / "server", *flags) as server, Client(server) as client:
        assert client.infer("idle", inputs_of(1)).warmth == "disk"
        until(lambda: [each["archive"] for each in client.residency()["residents"]] == ["kept"], what="the departure")
        (eviction,) = client.residency()["evictions"]
        assert (eviction["archive"], eviction["reason"]) == ("idle", "idle for longer than its time to live")
        assert client.infer("idle", inputs_of(1)).warmth == "disk"
        kept = (tmp_path / "server" / "cache" / "footprints-embedded.json").read_text().splitlines()
        assert len(kept) >= 3, "measurements are on disk at once, however the process ends"
