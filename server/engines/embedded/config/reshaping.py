"""Shapes on their way between the wire and a model: `reshape` of a config, and batch axes between ensemble steps. Pure.

Everything returns views; nothing is copied unless an array is not contiguous.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInput, ModelOutput

from server.domain.inference import Array, Tensor


@dataclass(frozen=True, slots=True)
class Reshape:
    """`before` and `after`: dims without the batch axis; the n-th -1 of one stands for the n-th -1 of the other."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    has_batch: bool

    def apply(self, tensor: Tensor) -> Tensor:
        """The tensor in its new shape. Raises ValueError where the numbers of elements differ."""
        batch = tensor.shape[:1] if self.has_batch else ()
        dims = tensor.shape[len(batch) :]
        dynamic = iter([got for want, got in zip(self.before, dims, strict=True) if want < 0])
        shape = (*batch, *(next(dynamic) if dim < 0 else dim for dim in self.after))
        return Tensor(tensor.name, tensor.datatype, tensor.data.reshape(shape))


def input_reshapes(config: ModelConfig) -> Mapping[str, Reshape]:
    """From the wire's dims to the model's, for the inputs that ask for it."""
    batch = config.max_batch_size > 0
    return {
        tensor.name: Reshape(tuple(tensor.dims), tuple(tensor.reshape.shape), batch)
        for tensor in config.input
        if tensor.HasField("reshape")
    }


def output_reshapes(config: ModelConfig) -> Mapping[str, Reshape]:
    """From the model's dims to the wire's, for the outputs that ask for it."""
    batch = config.max_batch_size > 0
    return {
        tensor.name: Reshape(tuple(tensor.reshape.shape), tuple(tensor.dims), batch)
        for tensor in config.output
        if tensor.HasField("reshape")
    }


def model_dims(tensor: ModelInput | ModelOutput) -> tuple[int, ...]:
    """The dims that the model itself sees, without the batch axis."""
    return tuple(tensor.reshape.shape) if tensor.HasField("reshape") else tuple(tensor.dims)


def fit_batch_axis(array: Array, dims: Sequence[int], is_batched: bool) -> Array:
    """Add or drop a batch axis of 1 where a batched and an unbatched model of an ensemble meet.

    `dims` is what the receiver declares, without the batch axis. A shape that fits neither way is left as it is, for
    the receiver's own check to refuse.
    """
    rank = len(dims) + is_batched
    if is_batched and array.ndim == rank - 1:
        return array[None]
    if not is_batched and array.ndim == rank + 1 and array.shape[0] == 1:
        inner: Array = array[0]
        return inner
    return array
