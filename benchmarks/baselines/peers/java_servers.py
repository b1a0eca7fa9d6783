"""Peers whose front end is Java: TorchServe and its ancestor multi-model-server. Both speak one management API."""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

from benchmarks.baselines.peers import apps
from benchmarks.baselines.peers.embedding import BATCH, WAIT_S, WORKERS
from benchmarks.baselines.peers.peer import Address, Files, as_text
from benchmarks.baselines.peers.python_servers import environ, program
from benchmarks.baselines.peers.server_process import until_answering
from benchmarks.load.processes import free_port

_HANDLER: Final = "archive_handler.py"


def missing() -> str:
    """Why there is none here, or ""."""
    return "" if shutil.which("java") else "needs Java 11 or newer"


@contextmanager
def torchserve(files: Files) -> Iterator[Address]:
    """Two workers, batches of four."""
    with tempfile.TemporaryDirectory() as folder:
        root, ports = Path(folder), _ports(5)
        _write_archive(root / "minilm.mar", f"{_HANDLER}")
        names = ("inference_address", "management_address", "metrics_address")
        lines = [f"{name}=http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=False)]
        lines += [f"grpc_inference_port={ports[3]}", f"grpc_management_port={ports[4]}", f"model_store={root}"]
        lines += ["disable_token_authorization=true", "enable_envvars_config=false", "default_response_timeout=120"]
        (root / "config.properties").write_text("\n".join(lines) + "\n")
        command = [program("torchserve", "torchserve"), "--start", "--foreground", "--no-config-snapshots"]
        command += ["--model-store", folder, "--ts-config", f"{root / 'config.properties'}", "--disable-token-auth"]
        command += ["--enable-model-api"]
        more = {"LOG_LOCATION": folder, "METRICS_LOCATION": folder, "TEMP": folder}
        with until_answering(command, ports[0], "/ping", "", environ(files) | more) as server:
            _register(ports[1])
            yield Address(ports[0], "/predictions/minilm", body=as_text, pid=server.pid)


@contextmanager
def multi_model_server(files: Files) -> Iterator[Address]:
    """The same, one generation earlier."""
    with tempfile.TemporaryDirectory() as folder:
        root, ports = Path(folder), _ports(2)
        _write_archive(root / "minilm.mar", f"{_HANDLER.removesuffix('.py')}:handle")
        lines = [f"inference_address=http://127.0.0.1:{ports[0]}", f"management_address=http://127.0.0.1:{ports[1]}"]
        lines += [f"model_store={root}", "default_response_timeout=120"]
        (root / "config.properties").write_text("\n".join(lines) + "\n")
        command = [program("mms", "multi-model-server"), "--start", "--foreground"]
        command += ["--model-store", folder, "--mms-config", f"{root / 'config.properties'}"]
        more = {"LOG_LOCATION": folder, "METRICS_LOCATION": folder, "TEMP": folder}
        with until_answering(command, ports[0], "/ping", "", environ(files) | more) as server:
            _register(ports[1])
            yield Address(ports[0], "/predictions/minilm", body=as_text, pid=server.pid)


def _ports(count: int) -> list[int]:
    """Both refuse the ports that a system gives away by itself."""
    return [free_port(range(20_000 + 500 * index, 20_500 + 500 * index)) for index in range(count)]


def _write_archive(file: Path, handler: str) -> None:
    """The archive that their own archiver would write."""
    model = {"modelName": "minilm", "modelVersion": "1.0", "handler": handler}
    told = {"specificationVersion": "1.0", "implementationVersion": "1.0", "runtime": "python", "model": model}
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(told))
        archive.write(Path(str(apps.__file__)).with_name(_HANDLER), _HANDLER)


def _register(management_port: int) -> None:
    """Load the model into its workers. Raises OSError where it is refused."""
    asked = f"url=minilm.mar&model_name=minilm&batch_size={BATCH}&max_batch_delay={round(WAIT_S * 1e3)}"
    asked += f"&initial_workers={WORKERS}&synchronous=true"
    request = Request(f"http://127.0.0.1:{management_port}/models?{asked}", method="POST")
    with urlopen(request, timeout=180) as answer:
        answer.read()
