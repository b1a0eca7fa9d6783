"""A real tritonserver is restarted on request while clients ask on: none of them fails, and everything comes back."""

import psutil
import pytest

from tests.integration.live_server import ROOT, live_server
from tests.integration.residency.asking import Client
from tests.integration.residency.linear_archives import inputs_of, write_archive
from tests.integration.residency.traffic import traffic
from tests.integration.until import until

pytestmark = [pytest.mark.triton, pytest.mark.slow]

SEED, OTHER = 1, 2


def test_no_request_fails_while_tritonserver_is_renewed(tmp_path):
    write_archive(tmp_path / "store" / "asked", SEED, 1_000_000)
    write_archive(tmp_path / "store" / "idle", OTHER, 1_000_000)
    flags = ("--store", tmp_path / "store", "--engine", "triton", "--triton-root", ROOT / ".triton")
    with live_server(tmp_path / "server", *flags) as server, Client(server) as client:

        def facts():
            return client.call("GET", "/admin/server").document["engine"]

        def residents():
            return {each["archive"] for each in client.residency()["residents"]}

        assert client.infer("idle", inputs_of(1)).status == 200
        before = psutil.Process(facts()["pid"])
        with traffic(server, "asked", [SEED]) as found:
            until(lambda: found.has_answers_of(SEED), 30, "answers before")
            answered = len(found.exchanges)
            told = client.call("POST", "/admin/engine/renew")
            until(lambda: client.residency()["renewal"]["renewals"] == 1, 30, "the renewal")
            until(lambda: found.has_answers_of(SEED, answered + 20), 30, "answers after it")
        until(lambda: residents() == {"asked", "idle"}, 30, "what was there, there again")
        renewal, slowest = client.residency()["renewal"], max(each.ended - each.began for each in found.exchanges)
        print(
            f"\n[figures] {len(found.exchanges)} requests; renewed in {renewal['last_took_s']:.1f} s, slowest {slowest:.1f} s"
        )

        assert told.status == 202
        assert told.document["comes_back"] == ["asked", "idle"]
        assert found.faults == set()
        assert not before.is_running()
        assert facts()["restarts"] == 0
        assert facts()["renewals"] == 1
        assert client.infer("idle", inputs_of(1)).warmth == "resident"
