"""Lets a Python model complete its own configuration, in a short-lived worker process."""

import dataclasses
import json
from pathlib import Path
from typing import Final

from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.domain.clock import Clock, SystemClock
from server.domain.errors import InvalidArchive
from server.engines.embedded.python_steps.plan import config_from_json, config_to_json, launch_of
from server.engines.embedded.python_steps.wire import ConnectionLost
from server.engines.embedded.python_steps.worker_process import Spawner, WorkerProcess

_GRACE_S: Final = 5.0


def auto_complete(
    directory: Path, config: ModelConfig, *, timeout_s: float = 120.0, clock: Clock | None = None
) -> ModelConfig:
    """Run `TritonPythonModel.auto_complete_config` of the model in `directory`; without one, `config` comes back.

    Blocking; never runs the model's code in this process, and writes nothing into `directory`.

    Raises:
        InvalidArchive: there is no model file, its code raised, hung or died, or it contradicts `config`.
    """
    name = config.name or directory.name
    written = json.dumps(config_to_json(config))  # as written: what Triton fills in must not become part of it
    launch = dataclasses.replace(launch_of(name, directory, config), arguments={"model_config": written})
    spawner = Spawner()
    worker: WorkerProcess | None = None
    try:
        worker = WorkerProcess(name, spawner, clock or SystemClock())
        worker.connection.limit(timeout_s)
        worker.connection.send("complete", {"launch": launch.to_json()})
        frame = worker.connection.receive()
    except TimeoutError:
        raise InvalidArchive(f"auto_complete_config of step {name!r} did not end within {timeout_s:g} s") from None
    except ConnectionLost:
        how = worker.end(_GRACE_S) if worker else "did not start"
        raise InvalidArchive(f"auto_complete_config of step {name!r}: its worker process {how}") from None
    except OSError as error:
        raise InvalidArchive(f"auto_complete_config of step {name!r}: no process can start") from error
    finally:
        if worker is not None:
            worker.end()
        spawner.close()
    if frame.kind != "config":
        raise InvalidArchive(frame.head["error"])
    return config_from_json(frame.head["config"])
