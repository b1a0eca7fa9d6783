"""`/admin/residency/decisions`: filtered, limited, newest first, and as its OpenAPI says."""

import pytest
import requests

from tests.contract.test_http_admin import invoke


def decisions(server, **query):
    answer = requests.get(f"{server.url}/admin/residency/decisions", params=query, timeout=5)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def unloaded(start):
    """A server that two archives left, one of which came back."""
    server = start()
    for name in ("echo.tar.gz", "team/echo.tar.gz"):
        assert invoke(server, name).status_code == 200
        requests.post(f"{server.url}/admin/unload/{name}", timeout=5)
    assert invoke(server).status_code == 200
    return server


def test_departures_are_told_newest_first_with_what_came_of_them(unloaded):
    newest, oldest = decisions(unloaded)["decisions"]
    assert (newest["archive"], oldest["archive"]) == ("team/echo.tar.gz", "echo.tar.gz")
    assert (newest["regret"], oldest["reason"]) == (None, "unloaded on request")
    assert oldest["regret"]["after_s"] >= 0


def test_one_archive_s_and_so_many(unloaded):
    assert [each["archive"] for each in decisions(unloaded, archive="echo.tar.gz")["decisions"]] == ["echo.tar.gz"]
    assert len(decisions(unloaded, limit=1)["decisions"]) == 1
    assert decisions(unloaded, limit=0)["summary"]["departures"] == 2
    refused = requests.get(f"{unloaded.url}/admin/residency/decisions", params={"limit": "-1"}, timeout=5)
    assert refused.status_code == 400
    assert "limit" in refused.json()["error"]


def test_the_answer_has_the_fields_that_the_documentation_lists(unloaded):
    schemas = requests.get(f"{unloaded.url}/openapi.json", timeout=5).json()["components"]["schemas"]
    answer = decisions(unloaded)
    shown = {"Departures": answer, "Summary": answer["summary"], "Decision": answer["decisions"][1]}
    shown["Regret"] = answer["decisions"][1]["regret"]
    for name, document in shown.items():
        assert schemas[name]["properties"].keys() == document.keys(), name
    snapshot = requests.get(f"{unloaded.url}/admin/residency", timeout=5).json()
    assert snapshot["evictions"] == answer["decisions"]
