"""What a model answered, by the names of its outputs."""

from server.domain.errors import InferenceFailed
from server.domain.inference import Array, InferenceResponse


def output(response: InferenceResponse, name: str) -> Array:
    """The data of one output. Raises InferenceFailed: the model gave none of that name."""
    for tensor in response.outputs:
        if tensor.name == name:
            return tensor.data
    raise InferenceFailed(f"the model's answer has no output '{name}'")
