"""Our own routes: residency, pins, metrics, the index, the OpenAPI page; ids of requests."""

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.test_http_container import TARGET, body


def invoke(server, name="echo.tar.gz", **headers):
    return requests.post(f"{server.url}/invocations", data=body(), headers={TARGET: name, **headers}, timeout=30)


def samples(server):
    page = requests.get(f"{server.url}/metrics", timeout=5).text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def residents(server):
    snapshot = requests.get(f"{server.url}/admin/residency", timeout=5).json()
    return [resident["archive"] for resident in snapshot["residents"]]


def test_metrics_follow_an_archive_through_its_life(start):
    server = start()
    invoke(server)
    invoke(server)
    page = samples(server)
    assert page["ModelInvocations_total", "echo.tar.gz"] == 2
    assert (page["ModelCacheHit_sum", "echo.tar.gz"], page["ModelCacheHit_count", "echo.tar.gz"]) == (1, 2)
    assert page["ModelLoadingTime_count", "echo.tar.gz"] == 1
    assert page["ModelLatency_count", "echo.tar.gz"] == 2
    assert page["LoadedModelCount",] == 1
    assert (page["roundhouse_charged_bytes", "cpu"], page["roundhouse_budget_bytes", "cpu"]) == (10, 100)
    requests.post(f"{server.url}/admin/unload/echo.tar.gz", timeout=5)
    page = samples(server)
    assert page["LoadedModelCount",] == 0
    assert page["roundhouse_charged_bytes", "cpu"] == 0
    assert page["ModelEvictions_total", "echo.tar.gz"] == 1
    assert page["ModelUnloadingTime_count", "echo.tar.gz"] == 1


def test_metrics_count_errors_without_opening_labels_for_made_up_names(start):
    server = start()
    invoke(server, "nowhere.tar.gz")
    page = samples(server)
    assert page["ModelErrors_total", "_other"] == 1
    assert ("ModelErrors_total", "nowhere.tar.gz") not in page


def test_the_number_of_loaded_models_survives_the_engine_s_death(start):
    server = start()
    invoke(server)
    engine = server.wiring.engine
    server.running.on_loop(lambda: setattr(engine, "_on_lost", server.wiring.residency.lost))
    server.running.on_loop(engine.lose)
    assert samples(server)["LoadedModelCount",] == 0
    invoke(server)
    assert samples(server)["LoadedModelCount",] == 1


def test_requests_in_flight_are_shown(start):
    server = start()
    assert samples(server)["roundhouse_requests_in_flight",] == 0


def test_pinned_archives_are_not_evicted(start):
    server = start()
    assert requests.put(f"{server.url}/admin/pin/team/echo.tar.gz", timeout=5).status_code == 204
    for number in range(15):
        folder = server.wiring.load_root / f"m{number}"
        folder.mkdir()
        (folder / "config.pbtxt").write_text("")
        requests.post(f"{server.url}/models", json={"model_name": f"m{number}", "url": str(folder)}, timeout=5)
    assert "team/echo.tar.gz" in residents(server)
    assert requests.delete(f"{server.url}/admin/pin/team/echo.tar.gz", timeout=5).status_code == 204
    snapshot = requests.get(f"{server.url}/admin/residency", timeout=5).json()
    assert snapshot["pinned"] == []


def test_a_pin_on_an_unknown_archive_is_refused_and_forgotten(start):
    server = start()
    assert requests.put(f"{server.url}/admin/pin/nowhere.tar.gz", timeout=5).status_code == 404
    assert requests.get(f"{server.url}/admin/residency", timeout=5).json()["pinned"] == []


def test_terms_are_said_while_the_server_runs(start):
    server = start()
    terms = f"{server.url}/admin/terms/team/echo.tar.gz"
    assert requests.put(terms, json={"priority": 2, "ttl_s": 60}, timeout=5).status_code == 204
    assert requests.post(f"{server.url}/admin/preload/team/echo.tar.gz", timeout=5).status_code == 204
    (resident,) = requests.get(f"{server.url}/admin/residency", timeout=5).json()["residents"]
    assert (resident["group"], resident["priority"], resident["time_to_live_s"]) == ("team", 2, 60.0)
    for wrong in ({"ttl_s": 0}, {"quota": "1GiB"}, {"priority": "high"}):
        assert 400 <= requests.put(terms, json=wrong, timeout=5).status_code < 500


def test_preload_and_unload(start):
    server = start()
    assert requests.post(f"{server.url}/admin/preload/team/echo.tar.gz", timeout=5).status_code == 204
    assert residents(server) == ["team/echo.tar.gz"]
    archives = requests.get(f"{server.url}/admin/archives", timeout=5).json()["archives"]
    assert {"name": "team/echo.tar.gz", "resident": True} in archives
    assert requests.post(f"{server.url}/admin/unload/team/echo.tar.gz", timeout=5).status_code == 204
    assert residents(server) == []


def test_the_index_says_where_things_are(server):
    document = requests.get(f"{server.url}/", timeout=5).json()
    assert (document["name"], document["version"], document["is_ready"]) == ("roundhouse", "0.0.test", True)


def test_server_facts(server):
    assert requests.get(f"{server.url}/admin/server", timeout=5).json() == {"version": "0.0.test"}


def test_every_route_is_documented(server):
    paths = requests.get(f"{server.url}/openapi.json", timeout=5).json()["paths"]
    hot = {"/invocations", "/models/{id}/invoke", "/endpoints/{endpoint}/invocations", "/v2/models/{name}/infer"}
    cold = {"/ping", "/models", "/metrics", "/v2", "/v2/repository/index", "/admin/residency"}
    assert hot | cold <= paths.keys()
    assert "post" in paths["/invocations"]
    assert requests.get(f"{server.url}/docs", timeout=5).status_code == 200


@pytest.mark.parametrize("path", ["/ping", "/invocations", "/nothing", "/v2/health/live"])
def test_a_caller_s_request_id_comes_back(server, path):
    method = "POST" if path == "/invocations" else "GET"
    answer = requests.request(method, server.url + path, headers={"x-request-id": "mine-1"}, timeout=5)
    assert answer.headers["x-request-id"] == "mine-1"


@pytest.mark.parametrize("sent", [None, "with blanks in it", "x" * 200])
def test_requests_without_a_usable_id_get_one(server, sent):
    answers = [invoke(server, **({"x-request-id": sent} if sent else {})) for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert sent not in ids
