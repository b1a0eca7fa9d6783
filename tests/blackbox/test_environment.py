"""Section 6: the variables of the container, and how it starts and does not start."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from tests.blackbox import steps
from tests.blackbox.archives import one, put
from tests.blackbox.client import ONES, Client, kserve, outputs, tensor, text
from tests.fakes.repositories import linear_weights, onnx_linear
from tests.integration import live_server
from tests.integration.live_server import LiveServer, free_port, start
from tests.integration.until import until

ONE = linear_weights().sum(axis=0).tolist()
TWO = linear_weights(seed=1).sum(axis=0).tolist()


@contextmanager
def container(folder: Path, environ: dict[str, str], port: int):
    """`docker run IMAGE serve`: variables only. Where a test may not write to /opt/ml, it says so by a variable too."""
    folder.mkdir(exist_ok=True)
    log = folder / "container.log"
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("ROUNDHOUSE_", "SAGEMAKER_"))
    }
    ours = {
        "ROUNDHOUSE_HOST": "127.0.0.1",
        "ROUNDHOUSE_CACHE_DIR": str(folder / "cache"),
        "ROUNDHOUSE_LOG_FORMAT": "text",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("roundhouse")), "serve"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited, **ours, **environ},
            cwd=live_server.ROOT,
        )
    server = LiveServer(process, log, port)
    live_server.started.append(server)
    try:
        yield server
    except BaseException:
        live_server.end_quietly(server)
        raise
    server.stop()


def models(folder: Path) -> Path:
    """A repository with two models that nobody calls."""
    onnx_linear(folder / "first")
    onnx_linear(folder / "second", seed=1)
    return folder


def test_the_variables_of_a_multi_model_container(engine, tmp_path):
    port = free_port()
    (tmp_path / "models").mkdir()
    environ = {
        "SAGEMAKER_MULTI_MODEL": "true",
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_SAFE_PORT_RANGE": "20000-30000",
        "SAGEMAKER_TRITON_PING_MODE": "live",
        "SAGEMAKER_TRITON_THREAD_COUNT": "4",
        "SAGEMAKER_TRITON_LOG_VERBOSE": "false",
        "SAGEMAKER_TRITON_DISABLE_MODEL_NAMESPACING": "true",
        "SAGEMAKER_TRITON_SHM_DEFAULT_BYTE_SIZE": "4194304",
        "SAGEMAKER_TRITON_SHM_GROWTH_BYTE_SIZE": "2097152",
        "SAGEMAKER_TRITON_ADDITIONAL_ARGS": "--min-supported-compute-capability=6.0",
        "ROUNDHOUSE_LOAD_ROOT": str(tmp_path / "models"),
        "ROUNDHOUSE_ENGINE": engine,
    }
    with container(tmp_path / "container", environ, port) as live:
        client = Client(live, engine, tmp_path, load_root=tmp_path / "models")
        until(lambda: live.is_running and answers(client, "/ping") == 200, what="a ping")
        model, url = client.place(one(onnx_linear))
        assert client.load(model, url, "x.tar.gz").status_code == 200
        assert client.invoke(model).status_code == 200
        assert client.ask("").status_code == 400
        if engine == "triton":
            told = " ".join(psutil.Process(client.engine_facts()["pid"]).cmdline())
            assert "shm-default-byte-size=4194304" in told
            assert "shm-growth-byte-size=2097152" in told
            assert "--min-supported-compute-capability=6.0" in told


def answers(client, path):
    """The status, or 0 while nobody listens."""
    try:
        return client.get(path, timeout=5).status_code
    except requests.ConnectionError:
        return 0


@pytest.mark.parametrize("said", ["True", "false"])
def test_only_true_means_multi_model(tmp_path, said):
    onnx_linear(tmp_path / "model" / "linear")
    with live_server.live_server(
        tmp_path, "--engine", "embedded", "--model", tmp_path / "model", environ={"SAGEMAKER_MULTI_MODEL": said}
    ) as live:
        assert Client(live, "embedded", tmp_path).ask("").status_code == 200


@pytest.mark.parametrize(("name", "answer"), [("first", ONE), ("second", TWO)])
def test_the_default_model_is_the_one_that_is_named(tmp_path, name, answer):
    with live_server.live_server(
        tmp_path,
        "--engine",
        "embedded",
        "--model",
        models(tmp_path / "model"),
        environ={"SAGEMAKER_TRITON_DEFAULT_MODEL_NAME": name},
    ) as live:
        told = Client(live, "embedded", tmp_path).ask("")
    assert outputs(told)["OUTPUT0"] == pytest.approx(answer, rel=1e-5)
    assert told.json()["model_name"] == name


def nothing(folder):
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("build", "name", "words"),
    [(models, "", "second"), (models, "third", "third"), (nothing, "", "model"), (lambda folder: folder, "", "model")],
    ids=["two models and no name", "a name that is not there", "an empty folder", "no folder"],
)
def test_a_single_model_server_that_cannot_serve_does_not_start(tmp_path, build, name, words):
    named = {"SAGEMAKER_TRITON_DEFAULT_MODEL_NAME": name} if name else {}
    server = start(tmp_path, "--engine", "embedded", "--model", build(tmp_path / "model"), environ=named)
    assert server.wait() == 1
    assert words in server.text()


@pytest.mark.parametrize("variable", ["SAGEMAKER_TRITON_PING_MODE", "SAGEMAKER_TRITON_OVERRIDE_PING_MODE", ""])
def test_ping_says_ready_after_preloading_or_live_at_once(tmp_path, variable):
    gate, port = tmp_path / "gate", free_port()
    put(tmp_path / "store", "gated.tar.gz", one(lambda folder: steps.gated(folder, gate)), tmp_path / "scratch")
    server = start(
        tmp_path,
        *("--engine", "embedded", "--store", tmp_path / "store", "--preload", "gated.tar.gz"),
        environ={variable: "live"} if variable else {},
        port=port,
    )
    try:
        client = Client(server, "embedded", tmp_path)
        until(Path(f"{gate}.waiting").exists, what="the preload")
        statuses = [client.get("/ping").status_code for _ in range(5)]
        assert statuses == [200] * 5 if variable else all(status >= 400 for status in statuses)
        gate.touch()
        until(lambda: client.get("/ping").status_code == 200, what="ready")
    finally:
        gate.touch()
        server.stop()


def test_limits_by_the_toolkits_variables(tmp_path):
    store = tmp_path / "store"
    put(store, "moody.tar.gz", one(steps.moody), tmp_path / "scratch")
    environ = {"SAGEMAKER_MAX_PAYLOAD_IN_MB": "1", "SAGEMAKER_MODEL_SERVER_TIMEOUT": "1"}
    with live_server.live_server(tmp_path, "--engine", "embedded", "--store", store, environ=environ) as live:
        client = Client(live, "embedded", tmp_path)
        assert client.ask("moody.tar.gz", text("hello")).status_code == 200
        assert client.ask("moody.tar.gz", kserve(tensor(["x" * 2**20], [1], "BYTES"))).status_code == 413
        gate = tmp_path / "gate"
        assert client.ask("moody.tar.gz", text(f"wait {gate}")).status_code == 504
        gate.touch()
        assert client.ask("moody.tar.gz", ONES).status_code == 400
