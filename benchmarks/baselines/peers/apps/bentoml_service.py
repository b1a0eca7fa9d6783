# mypy: ignore-errors
# ruff: noqa: D102 - the methods are the framework's
"""BentoML: `bentoml serve benchmarks.baselines.peers.apps.bentoml_service:Embedding`; `POST /embed {"text": [...]}`.

As its documentation advises: adaptive batching, a worker per core.
"""

import bentoml
import numpy as np

from benchmarks.baselines.peers.embedding import BATCH, WORKERS, from_environment


@bentoml.service(
    workers=WORKERS, traffic={"timeout": 60}, metrics={"enabled": False}, logging={"access": {"enabled": False}}
)
class Embedding:
    """Each worker process has one."""

    def __init__(self):
        self.embedder = from_environment()

    @bentoml.api(batchable=True, max_batch_size=BATCH)
    def embed(self, text: list[str]) -> np.ndarray:
        return self.embedder.embed(text)
