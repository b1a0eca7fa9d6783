# mypy: ignore-errors
# ruff: noqa: D102 - the methods are the framework's
"""MLServer: a custom runtime; its folder of settings is written by whoever starts it. Speaks KServe v2.

As its documentation advises: adaptive batching in the server, inference in parallel workers, a process per core.
"""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse

from benchmarks.baselines.peers.embedding import from_environment


class Embedding(MLModel):
    """Texts in, vectors out; MLServer merges and splits the requests of a batch."""

    async def load(self):
        self.embedder = from_environment()
        return True

    async def predict(self, payload):
        texts = StringCodec.decode_input(payload.inputs[0])
        vectors = NumpyCodec.encode_output("OUTPUT0", self.embedder.embed(texts))
        return InferenceResponse(model_name=self.name, outputs=[vectors])
