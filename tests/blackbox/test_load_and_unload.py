"""Section 2 of the contract: LOAD, LIST, GET and UNLOAD as the platform calls them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.blackbox import steps
from tests.blackbox.archives import one, too_large
from tests.blackbox.client import outputs
from tests.fakes.repositories import chain_ensemble, linear_pipeline, linear_weights, onnx_linear, write_config
from tests.integration.live_server import ROOT

LINEAR = one(onnx_linear, "linear")
ANSWER = linear_weights().sum(axis=0).tolist()
SHELL = "a$(touch was-run).tar.gz"
TARGETS = ["", "resnet.tar.gz", "team/a/resnet.tar.gz", 'a name\'s "v1".tar.gz', SHELL]


@pytest.mark.parametrize("target", ["", "resnet.tar.gz", "team/a/resnet.tar.gz", 'a name\'s "v1".tar.gz'])
def test_the_life_of_a_model(multi, target):
    model, url = multi.place(LINEAR)
    loaded = multi.load(model, url, target)
    assert (loaded.status_code, loaded.content) == (200, b"")
    assert multi.get(f"/models/{model}").json() == {"modelName": model, "modelUrl": str(url)}
    assert {"modelName": model, "modelUrl": str(url)} in multi.get("/models").json()["models"]
    answer = multi.invoke(model, target=target)
    assert outputs(answer)["OUTPUT0"] == pytest.approx(ANSWER, rel=1e-5)
    assert answer.json()["model_name"] == (target or model)
    assert answer.json()["model_version"] == "1"
    gone = multi.unload(model, target)
    assert (gone.status_code, gone.content) == (200, b"")
    assert multi.get(f"/models/{model}").status_code == 404
    assert multi.invoke(model, target=target).status_code == 404
    assert multi.unload(model, target).status_code == 404
    assert model not in multi.get("/models").text
    assert not (ROOT / "was-run").exists()
    assert list(multi.folder.rglob("was-run")) == []


def test_a_model_may_be_loaded_again_after_its_unload(multi):
    model, url = multi.place(LINEAR)
    for _ in range(2):
        assert multi.load(model, url, "again.tar.gz").status_code == 200
        assert multi.invoke(model, target="again.tar.gz").status_code == 200
        assert multi.unload(model, "again.tar.gz").status_code == 200


def test_a_model_loaded_with_a_target_is_invoked_and_unloaded_without_one(multi):
    model, url = multi.place(LINEAR)
    multi.load(model, url, "quiet.tar.gz")
    assert multi.invoke(model).json()["model_name"] == "quiet.tar.gz"
    assert multi.unload(model).status_code == 200
    assert multi.resident("quiet.tar.gz") is None


def test_the_target_header_has_to_agree_with_the_id(multi):
    (a, url_a), (b, url_b) = multi.place(LINEAR), multi.place(one(onnx_linear, "other"))
    assert (multi.load(a, url_a, "a.tar.gz").status_code, multi.load(b, url_b, "b.tar.gz").status_code) == (200, 200)
    assert multi.invoke(a, target="b.tar.gz").status_code == 400
    assert multi.unload(a, "b.tar.gz").status_code == 400
    assert multi.invoke(a, target="a.tar.gz").status_code == 200
    assert multi.invoke(b, target="b.tar.gz").status_code == 200
    multi.let_go(a)
    multi.let_go(b)


def test_an_id_or_a_target_is_loaded_once(multi):
    (model, url), (other, other_url) = multi.place(LINEAR), multi.place(LINEAR)
    assert multi.load(model, url, "once.tar.gz").status_code == 200
    again = multi.load(model, url, "once.tar.gz")
    assert (again.status_code, list(again.json())) == (409, ["error"])
    assert multi.load(other, other_url, "once.tar.gz").status_code == 409
    assert multi.invoke(model).status_code == 200
    multi.let_go(model)


def test_list_is_paged_and_every_model_is_in_it(multi):
    placed = dict(multi.place(LINEAR) for _ in range(3))
    for model, url in placed.items():
        assert multi.load(model, url, f"{model}.tar.gz").status_code == 200
    seen, token = {}, ""
    while token is not None:
        page = multi.get(f"/models?limit=2{token and f'&next_page_token={token}'}").json()
        assert len(page["models"]) <= 2
        seen.update({each["modelName"]: each["modelUrl"] for each in page["models"]})
        token = page.get("nextPageToken")
    assert {model: seen.get(model) for model in placed} == {model: str(url) for model, url in placed.items()}
    for model in placed:
        multi.let_go(model)


class Body(NamedTuple):
    """A body of LOAD that is wrong."""

    says: str
    data: str | bytes


@pytest.mark.parametrize(
    "body",
    [
        Body("empty", b""),
        Body("not JSON", "{nonsense"),
        Body("not UTF-8", b'{"model_name": "\xff"}'),
        Body("a list", "[]"),
        Body("a number for the name", '{"model_name": 5, "url": "/opt/ml/models/a/model"}'),
        Body("a list for the url", '{"model_name": "a", "url": ["/opt/ml/models/a/model"]}'),
        Body("no url", '{"model_name": "a"}'),
        Body("no name", '{"url": "/opt/ml/models/a/model"}'),
        Body("an empty name", '{"model_name": "", "url": "/opt/ml/models/a/model"}'),
        Body("an empty url", '{"model_name": "a", "url": ""}'),
        Body("outside the load root", '{"model_name": "a", "url": "/etc"}'),
        Body("a device", '{"model_name": "a", "url": "/dev/shm"}'),
        Body("the process's own folder", '{"model_name": "a", "url": "/proc/self/root"}'),
        Body("nested very deeply", "[" * 100_000),
    ],
    ids=lambda body: body.says,
)
def test_a_malformed_load_is_refused(multi, body):
    answer = multi.call("POST", "/models", {"Content-Type": "text/plain"}, data=body.data)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_load_that_climbs_out_of_the_load_root_is_refused(multi):
    multi.place(LINEAR)
    for url in (multi.load_root / ".." / "cache", multi.load_root, f"{multi.load_root}/x/../../cache"):
        assert multi.load("climbing", url).status_code == 400


def test_content_type_and_unknown_fields_of_load_do_not_matter(multi):
    model, url = multi.place(LINEAR)
    body = json.dumps({"model_name": model, "url": str(url), "unknown": {"a": [1]}})
    answer = multi.call("POST", "/models", {"Content-Type": "application/octet-stream"}, data=body)
    assert answer.status_code == 200
    multi.let_go(model)


class Failing(NamedTuple):
    """A folder that cannot be loaded, and the answer."""

    says: str
    build: Callable[[Path], object]
    status: int = 400
    words: str = ""
    target: str = "failing.tar.gz"


def nothing(root):
    """Leave the folder empty."""


def unparsable(root):
    write_config(root / "step", 'name: "step" max_batch_size: {')
    (root / "step" / "1").mkdir()


def half_a_pipeline(root):
    """`pipeline` calls `encoder` and `head`, and `encoder` is missing: other archives on the server have one."""
    linear_pipeline(root)
    shutil.rmtree(root / "encoder")


def misnamed_tensor(root):
    """The ensemble maps an input that its step does not have."""
    onnx_linear(root / "linear")
    folder = chain_ensemble(root / "pipeline", ["linear"], output_dims=[2])
    config = folder / "config.pbtxt"
    config.write_text(config.read_text().replace('input_map { key: "INPUT0"', 'input_map { key: "STRANGER"'))


def wrong_graph(root):
    """The config names a tensor that the graph does not have."""
    folder = onnx_linear(root / "linear")
    config = folder / "config.pbtxt"
    config.write_text(config.read_text().replace('name: "INPUT0"', 'name: "STRANGER"'))


def starts(line):
    return one(lambda folder: steps.starting(folder, line))


OUT_OF_MEMORY = "raise pb_utils.TritonModelException('CUDA out of memory. Tried to allocate 20.00 MiB')"

FAILING = [
    Failing("an empty folder", nothing),
    Failing("a config that does not parse", unparsable, words="step"),
    Failing("a missing part that another archive has", half_a_pipeline, words="encoder"),
    Failing("an ensemble that maps a missing tensor", misnamed_tensor, words="STRANGER"),
    Failing("a config that names a missing tensor", wrong_graph, words="INPUT0"),
    Failing("initialize raises", starts("raise ValueError('on purpose')"), words="on purpose"),
    Failing("initialize leaves", starts("sys.exit(3)")),
    Failing("initialize dies", starts("os._exit(3)")),
    Failing("OOM in the archive's name", starts("raise ValueError('on purpose')"), target="BLOOM.tar.gz"),
    Failing("out of memory", starts(OUT_OF_MEMORY), status=507),
    Failing("a MemoryError", starts("raise MemoryError('no room')"), status=507),
    Failing("larger than the device", too_large, status=507),
]


@pytest.mark.parametrize("case", FAILING, ids=lambda case: case.says)
def test_a_failed_load_is_told_and_leaves_nothing(multi, case):
    charged = multi.charged_bytes()
    model, url = multi.place(case.build)
    for _ in range(2):  # the second LOAD is tried afresh: no 409
        answer = multi.load(model, url, case.target)
        assert answer.status_code == case.status, answer.text
        assert case.words in answer.json()["error"]
        assert multi.get(f"/models/{model}").status_code == 404
        assert multi.invoke(model).status_code == 404
    assert model not in multi.get("/models").text
    assert multi.get("/ping").status_code == 200
    assert multi.charged_bytes() <= charged


def test_a_load_succeeds_once_its_folder_is_right(multi):
    model, url = multi.place(unparsable)
    assert multi.load(model, url).status_code == 400
    shutil.rmtree(url / "step")
    LINEAR(url)
    assert multi.load(model, url).status_code == 200
    multi.let_go(model)


def test_a_missing_folder_is_told(multi):
    answer = multi.load("absent", multi.load_root / "absent" / "model")
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


def test_a_load_of_a_body_in_very_many_chunks_is_answered(multi):
    body = json.dumps({"model_name": "chunks", "url": "/elsewhere", "filler": "x" * 70_000}).encode()
    answer = multi.call("POST", "/models", data=(body[at : at + 1] for at in range(len(body))))
    assert answer.status_code == 400
    assert multi.get("/ping").status_code == 200
