"""A real server with a host tier: what was evicted comes back from host memory, and says so."""

from pathlib import Path

import pytest

from tests.integration.live_server import live_server
from tests.integration.residency.asking import Client
from tests.integration.residency.linear_archives import expected, inputs_of, write_archive
from tests.integration.until import until

WEIGHT_BYTES = 4_000_000
BUDGET = "6MB"
"""Room for one archive and a half."""


def test_what_was_evicted_comes_back_from_host_memory(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        write_archive(tmp_path / "store" / name, seed, WEIGHT_BYTES)
    flags = ("--store", tmp_path / "store", "--memory-budget", BUDGET, "--churn-guard-s", 0.0, "--engine", "embedded")
    tiers = ("--host-tier", "100MB", "--prefetch", "on")
    with live_server(tmp_path / "server", *flags, *tiers) as server, Client(server) as client:

        def ask(seed: int) -> str:
            reply = client.infer("ab"[seed], inputs_of(seed))
            assert reply.output == pytest.approx(expected(inputs_of(seed), seed), rel=1e-5)
            return reply.warmth

        def host_tier() -> dict[str, int]:
            found: dict[str, int] = client.residency()["host_tier"]
            return found

        assert [ask(0), ask(1)] == ["disk", "disk"]
        until(lambda: host_tier()["steps"] == 1, what="the files of the evicted archive in host memory")
        assert WEIGHT_BYTES < host_tier()["used_bytes"] < 1.1 * WEIGHT_BYTES
        assert ask(0) == "host"
        assert ask(0) == "resident"

        shown = client.residency()
        assert shown["served_from"] == {"resident": 1, "shared": 0, "host": 1, "disk": 2, "store": 0}
        assert [each["came_from"] for each in shown["residents"]] == ["host"]
        assert (shown["host_tier"]["hits"], shown["host_tier"]["budget_bytes"]) == (1, 100_000_000)
        assert shown["prefetch"]["reasons"] == {}
        page = client.call("GET", "/metrics").body.decode()
        assert 'roundhouse_leases_total{warmth="host"} 1.0' in page
        assert "roundhouse_host_tier_hits_total 1.0" in page
