"""What the engine holds, as it is told; and renewing it on request."""

import pytest
import requests

from tests.contract.test_http_admin import invoke, residents, samples
from tests.integration.until import until


def cpu(server):
    return requests.get(f"{server.url}/admin/residency", timeout=5).json()["devices"]["cpu"]


def renew(server):
    return requests.post(f"{server.url}/admin/engine/renew", timeout=5)


def test_expected_and_observed_memory_are_told(start):
    server = start()
    invoke(server)
    until(lambda: "observed_bytes" in cpu(server), what="a comparison")
    told, page = cpu(server), samples(server)

    assert (told["expected_bytes"], told["observed_bytes"], told["drift_bytes"], told["is_leaking"]) == (
        10,
        10,
        0,
        False,
    )
    assert [page[f"roundhouse_{what}_bytes", "cpu"] for what in ("expected", "observed", "drift")] == [10, 10, 0]
    assert page["roundhouse_leak_alarm", "cpu"] == 0


def test_renewing_the_engine_brings_everything_back(start):
    server = start()
    invoke(server)
    answer = renew(server)
    assert answer.status_code == 202
    assert answer.json() == {"leases_out": 0, "drain_timeout_s": pytest.approx(15.0), "comes_back": ["echo.tar.gz"]}
    until(lambda: server.wiring.engine.renewals == 1, what="the renewal")
    until(lambda: residents(server) == ["echo.tar.gz"], what="what was there, there again")
    assert invoke(server).headers["x-roundhouse-warmth"] == "resident"
    assert samples(server)["LoadedModelCount",] == 1
    assert requests.get(f"{server.url}/admin/residency", timeout=5).json()["renewal"]["renewals"] == 1


def test_an_engine_that_is_this_process_says_that_it_cannot_be_renewed(start):
    server = start()
    server.wiring.engine.can_renew = False
    answer = renew(server)
    assert answer.status_code == 501
    assert "restart the server" in answer.json()["error"]
