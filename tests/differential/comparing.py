"""Runs one request through several engines and compares what they say."""

from collections.abc import Sequence

import numpy as np

from server.domain.errors import RoundhouseError
from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.domain.model import StagedArchive
from server.domain.ports import Engine
from tests.differential.engines import resident

TOLERANCE = 1e-5


def tensor(data, datatype="FP32", name="INPUT0"):
    """A tensor of that array."""
    return Tensor(name, datatype, np.asarray(data))


def request(*tensors, outputs=(), **parameters):
    """A request with those inputs."""
    return InferenceRequest({each.name: each for each in tensors}, outputs=tuple(outputs), parameters=parameters)


async def outcomes(
    engines: Sequence[Engine], archive: StagedArchive, requests: Sequence[InferenceRequest]
) -> list[list[InferenceResponse | type[RoundhouseError]]]:
    """Per engine, what each request gave: an answer, or the class of the error. A failed load stands for all."""
    told: list[list[InferenceResponse | type[RoundhouseError]]] = []
    for engine in engines:
        try:
            async with resident(engine, archive) as entry:
                told.append([await _outcome(engine, entry, each) for each in requests])
        except RoundhouseError as error:
            told.append([type(error)])
    return told


async def _outcome(engine, entry, each):
    try:
        return await engine.infer(entry, each)
    except RoundhouseError as error:
        return type(error)


async def streamed(engine, archive, each):
    """Every answer of a stream."""
    async with resident(engine, archive) as entry:
        return [response async for response in engine.stream(entry, each)]


def assert_same(first: InferenceResponse, second: InferenceResponse) -> None:
    """Equal names, datatypes and shapes, and values within the tolerance."""
    assert [(t.name, t.datatype, t.shape) for t in first.outputs] == [
        (t.name, t.datatype, t.shape) for t in second.outputs
    ]
    assert dict(first.parameters) == dict(second.parameters)
    for one, other in zip(first.outputs, second.outputs, strict=True):
        if one.datatype == "BYTES":
            assert one.data.tolist() == other.data.tolist()
        else:
            np.testing.assert_allclose(one.data, other.data, rtol=TOLERANCE, atol=TOLERANCE)


async def assert_agree(engines, archive, *requests):
    """Both engines answer every request, and alike. Returns the answers of the first."""
    first, second = await outcomes(engines, archive, requests)
    for one, other in zip(first, second, strict=True):
        assert isinstance(one, InferenceResponse), one
        assert isinstance(other, InferenceResponse), other
        assert_same(one, other)
    return first


async def assert_fail_alike(engines, archive, *requests):
    """Both engines refuse every request (or the load) with the same class of error. Returns the classes."""
    first, second = await outcomes(engines, archive, requests)
    assert all(isinstance(each, type) for each in first), first
    assert first == second, (first, second)
    return first
