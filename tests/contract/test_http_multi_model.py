"""LOAD, LIST, GET, UNLOAD and INVOKE of loaded models, over real HTTP; none of them holds up anybody else."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.contract.test_http_container import TARGET, body


class Models:
    """The platform's side of `/models`."""

    def __init__(self, server):
        self.url = f"{server.url}/models"
        self.root = server.wiring.load_root

    def folder(self, model, content="config.pbtxt"):
        folder = self.root / model / "model"
        folder.mkdir(parents=True)
        if content:
            (folder / content).write_text("")
        return str(folder)

    def load(self, model, target="", content="config.pbtxt"):
        folder = self.root / model / "model"
        url = str(folder) if folder.exists() else self.folder(model, content)
        headers = {TARGET: target} if target else {}
        return requests.post(self.url, json={"model_name": model, "url": url, "extra": 1}, headers=headers, timeout=30)

    def list(self, **query):
        return requests.get(self.url, params=query, timeout=30).json()

    def invoke(self, model, **headers):
        return requests.post(f"{self.url}/{model}/invoke", data=body(), headers=headers, timeout=30)

    def unload(self, model, **headers):
        return requests.delete(f"{self.url}/{model}", headers=headers, timeout=30)


@pytest.fixture
def models(start):
    return Models(start())


def test_the_life_of_a_loaded_model(models):
    loaded = models.load("0a1b", "team/resnet.tar.gz")
    assert (loaded.status_code, loaded.content) == (200, b"")
    entry = {"modelName": "0a1b", "modelUrl": str(models.root / "0a1b" / "model")}
    assert models.list() == {"models": [entry]}
    assert requests.get(f"{models.url}/0a1b", timeout=5).json() == entry
    assert models.invoke("0a1b").json()["model_name"] == "team/resnet.tar.gz"
    gone = models.unload("0a1b")
    assert (gone.status_code, gone.content) == (200, b"")
    assert models.list() == {"models": []}
    assert models.invoke("0a1b").status_code == 404
    assert models.unload("0a1b").status_code == 404
    assert models.load("0a1b", "team/resnet.tar.gz").status_code == 200


def test_an_id_is_loaded_once(models):
    assert models.load("0a1b").status_code == 200
    assert models.load("0a1b").status_code == 409


def test_a_target_is_loaded_once(models):
    assert models.load("0a1b", "x.tar.gz").status_code == 200
    assert models.load("2c3d", "x.tar.gz").status_code == 409


@pytest.mark.parametrize(("content", "status"), [("", 400), ("huge", 507)])
def test_a_failed_load_leaves_nothing_behind(models, content, status):
    answer = models.load("0a1b", content=content)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert models.list() == {"models": []}
    (models.root / "0a1b" / "model" / "config.pbtxt").write_text("")
    (models.root / "0a1b" / "model" / "huge").unlink(missing_ok=True)
    assert models.load("0a1b").status_code == 200


def test_the_target_header_has_to_agree_with_the_id(models):
    models.load("0a1b", "a.tar.gz")
    models.load("2c3d", "b.tar.gz")
    assert models.invoke("0a1b", **{TARGET: "b.tar.gz"}).status_code == 400
    assert models.unload("0a1b", **{TARGET: "b.tar.gz"}).status_code == 400
    assert models.invoke("0a1b", **{TARGET: "a.tar.gz"}).json()["model_name"] == "a.tar.gz"
    assert [entry["modelName"] for entry in models.list()["models"]] == ["0a1b", "2c3d"]


def test_a_loaded_model_answers_to_its_target(models):
    models.load("0a1b", "a.tar.gz")
    base = models.url.removesuffix("/models")
    answer = requests.post(f"{base}/invocations", data=body(), headers={TARGET: "a.tar.gz"}, timeout=5)
    assert answer.json()["model_name"] == "a.tar.gz"
    assert answer.headers["x-roundhouse-warmth"] == "resident"


def test_a_model_that_was_evicted_stays_loaded_and_comes_back(models):
    for number in range(12):
        assert models.load(f"model-{number:02}").status_code == 200
    assert len(models.list()["models"]) == 12
    again = models.invoke("model-00")
    assert again.status_code == 200
    assert again.headers["x-roundhouse-warmth"] == "disk"


def test_list_pages(models):
    for number in range(5):
        models.load(f"m{number}")
    pages, token = [], None
    for _ in itertools.count():
        page = models.list(limit=2, **({"next_page_token": token} if token else {}))
        pages.append([entry["modelName"] for entry in page["models"]])
        token = page.get("nextPageToken")
        if token is None:
            break
    assert pages == [["m0", "m1"], ["m2", "m3"], ["m4"]]


def test_pings_and_other_models_do_not_wait_for_a_load(start):
    server = start()
    models, engine = Models(server), server.wiring.engine
    assert models.load("warm").status_code == 200
    server.running.on_loop(engine.loads_open.clear)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(models.load, "cold")
        while not engine.loading:
            requests.get(f"{server.url}/ping", timeout=2)
        assert requests.get(f"{server.url}/ping", timeout=2).status_code == 200
        assert models.invoke("warm").status_code == 200
        assert [entry["modelName"] for entry in models.list()["models"]] == ["warm"]
        assert models.unload("cold").status_code == 404
        assert models.load("cold").status_code == 409
        server.running.on_loop(engine.loads_open.set)
        assert loading.result().status_code == 200


def test_unload_waits_for_running_requests_and_blocks_nobody(start):
    server = start()
    engine = server.wiring.engine
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(Models(server).invoke, "slow.tar.gz")
        while not engine.slow_running:
            requests.get(f"{server.url}/ping", timeout=2)
        unloading = pool.submit(Models(server).unload, "slow.tar.gz")
        assert requests.get(f"{server.url}/ping", timeout=2).status_code == 200
        assert Models(server).invoke("echo.tar.gz").status_code == 200
        assert not unloading.done()
        server.running.on_loop(engine.slow_open.set)
        assert running.result().status_code == 200
        assert unloading.result().status_code == 200
