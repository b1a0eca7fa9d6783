# mypy: ignore-errors
# ruff: noqa: D102 - the methods are the framework's
"""Ray Serve: `python -m benchmarks.baselines.peers.apps.ray_app PORT FOLDER`; `POST / {"text": ...}`.

As its documentation advises: `serve.batch`, a replica per core.
"""

import signal
import sys
import threading

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.baselines.peers.embedding import BATCH, WAIT_S, WORKERS, from_environment


@serve.deployment(num_replicas=WORKERS, max_ongoing_requests=100, ray_actor_options={"num_cpus": 1})
class Embedding:
    """Each replica is a process."""

    def __init__(self):
        self.embedder = from_environment()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT_S)
    async def embed(self, texts):
        return list(self.embedder.embed(texts))

    async def __call__(self, request: Request):
        text = (await request.json())["text"]
        return {"embedding": (await self.embed(text)).tolist()}


def main():
    ended = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: ended.set())
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[2])
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
        serve.run(Embedding.bind())
        ended.wait()
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
