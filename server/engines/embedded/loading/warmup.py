"""`model_warmup`: the requests that a step answers before it counts as loaded."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelWarmup

from server.archive.model_config import datatype
from server.domain.errors import InvalidArchive, LoadFailed, RoundhouseError
from server.domain.inference import NUMPY_BY_DATATYPE, Array, InferenceRequest, Tensor
from server.engines.embedded.resident import Resident

_FOLDER: Final = "warmup"
_LENGTH: Final = struct.Struct("<I")


def warm_up(resident: Resident, config: ModelConfig, directory: Path) -> None:
    """Run every warm-up sample `count` times (once where it does not say).

    Raises:
        InvalidArchive: a sample makes no sense.
        LoadFailed: the step failed on a sample; the message names it.
    """
    for sample in config.model_warmup:
        request = _request(config, sample, directory)
        for _ in range(max(1, sample.count)):
            try:
                for _answer in resident.run_stream(request):
                    pass
            except RoundhouseError as error:
                raise LoadFailed(f"model {config.name!r}: warm-up {sample.name!r} failed: {error}") from error


def _request(config: ModelConfig, sample: ModelWarmup, directory: Path) -> InferenceRequest:
    where = f"model {config.name!r}: warm-up {sample.name!r}"
    batch = [max(1, sample.batch_size)] if config.max_batch_size > 0 else []
    inputs: dict[str, Tensor] = {}
    for name, given in sample.inputs.items():
        kind = datatype(given.data_type)
        shape = (*batch, *given.dims)
        if min(shape, default=0) < 0:
            raise InvalidArchive(f"{where}: input {name!r} needs dims without -1, got {list(given.dims)}")
        inputs[name] = Tensor(name, kind, _data(where, given, kind, shape, directory))
    return InferenceRequest(inputs)


def _data(where: str, given: ModelWarmup.Input, kind: str, shape: tuple[int, ...], directory: Path) -> Array:
    source = given.WhichOneof("input_data_type")
    if source == "input_data_file":
        return _from_file(where, directory / _FOLDER, given.input_data_file, kind, shape)
    if kind == "BYTES":
        return np.full(shape, b"", dtype=np.object_)
    dtype = NUMPY_BY_DATATYPE[kind]
    if source != "random_data":
        return np.zeros(shape, dtype)
    random = np.random.default_rng(0)  # the same data each time: a load that worked once works again
    if dtype.kind == "f":
        return random.random(shape).astype(dtype)
    if dtype.kind == "b":
        return random.integers(0, 2, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def _from_file(where: str, folder: Path, name: str, kind: str, shape: tuple[int, ...]) -> Array:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InvalidArchive(f"{where}: input_data_file {name!r} lies outside the folder {_FOLDER}/")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InvalidArchive(f"{where}: file {_FOLDER}/{name} cannot be read") from error
    try:
        if kind != "BYTES":
            return np.frombuffer(raw, NUMPY_BY_DATATYPE[kind]).reshape(shape)
        elements = np.array([*_elements(raw), None], dtype=np.object_)[:-1]  # the None keeps numpy from guessing
        return elements.reshape(shape)
    except (ValueError, struct.error) as error:
        raise InvalidArchive(f"{where}: file {_FOLDER}/{name} does not hold {kind} {list(shape)}: {error}") from error


def _elements(raw: bytes) -> Iterator[bytes]:
    """BYTES elements: each with its length as 4 bytes, little-endian, before it."""
    position = 0
    while position < len(raw):
        (length,) = _LENGTH.unpack_from(raw, position)
        position += _LENGTH.size
        if position + length > len(raw):
            raise ValueError("an element is cut off")
        yield raw[position : position + length]
        position += length
