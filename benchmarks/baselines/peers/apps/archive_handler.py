# mypy: ignore-errors
"""TorchServe and multi-model-server: the handler that lies in the model archive. Both call `handle` with a batch."""

import json

from benchmarks.baselines.peers.embedding import from_environment

_loaded = []


def handle(data, context):
    """A JSON document per request of the batch; without data it is a first call that shall load."""
    del context
    if not _loaded:
        _loaded.append(from_environment())
    if not data:
        return None
    vectors = _loaded[0].embed([_text(row.get("body") or row.get("data")) for row in data])
    return [json.dumps({"embedding": vector.tolist()}) for vector in vectors]


def _text(body):
    return (body if isinstance(body, dict) else json.loads(bytes(body)))["text"]
