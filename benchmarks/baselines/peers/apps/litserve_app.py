# mypy: ignore-errors
# ruff: noqa: D102 - the methods are the framework's
"""LitServe: `python -m benchmarks.baselines.peers.apps.litserve_app PORT`; `POST /predict {"text": ...}`.

As its documentation advises for a CPU: a worker per core, batching in the workers, encoding and decoding in the server.
"""

import sys

import litserve

from benchmarks.baselines.peers.embedding import BATCH, WAIT_S, WORKERS, from_environment


class Embedding(litserve.LitAPI):
    """The steps that LitServe calls, in the order in which it calls them."""

    def setup(self, device):
        del device
        self.embedder = from_environment()

    def decode_request(self, request):
        return request["text"]

    def batch(self, inputs):
        return inputs

    def predict(self, texts):
        return self.embedder.embed(texts)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"embedding": output.tolist()}


if __name__ == "__main__":
    api = Embedding(max_batch_size=BATCH, batch_timeout=WAIT_S)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=WORKERS, timeout=60)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
