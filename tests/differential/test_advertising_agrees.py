"""The advertising pipeline, a model that calls two others, through the real Triton and through the embedded engine."""

import numpy as np
import pytest

from server.codecs.kserve import bytes_elements
from server.domain.errors import InvalidRequest
from server.domain.inference import Tensor
from tests.differential.comparing import assert_fail_alike, request
from tests.differential.engines import resident, staged
from tests.fakes.advertising import advertising_archive
from tests.fakes.sam_archive import picture

pytestmark = [
    pytest.mark.triton,
    pytest.mark.builders,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("generative"),
]

SIZE = (72, 100)


def text(name, value):
    return Tensor(name, "BYTES", bytes_elements.object_array([value.encode()], (1,)))


def number(name, value, datatype):
    dtype = {"INT32": np.int32, "INT64": np.int64, "FP32": np.float32}[datatype]
    return Tensor(name, datatype, np.array([value], dtype))


def wish(*more, steps=2):
    return request(
        Tensor("IMAGE", "UINT8", picture(*SIZE)),
        text("PROMPT_FR", "a cup"),
        text("PROMPT_BG", "a beach"),
        number("STEPS", steps, "INT32"),
        number("SEED", 5, "INT64"),
        *more,
    )


def mask(height=SIZE[0], width=SIZE[1], white=255):
    grey = np.zeros((height, width), np.uint8)
    grey[20:50, 30:70] = white
    return Tensor("MASK", "UINT8", grey)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return staged(advertising_archive(), tmp_path_factory.mktemp("steps"))


async def test_both_engines_make_the_same_advertisements(engines, archive):
    wishes = [wish(mask()), wish(), wish(mask(white=1), text("NEGATIVE_PROMPT", "blurred"), steps=3)]
    told = []
    for engine in engines:
        async with resident(engine, archive) as entry:
            told.append([await engine.infer(entry, each) for each in wishes])
    for triton, embedded in zip(*told, strict=True):
        names = ["GENERATED", "BACKGROUND", "PRODUCT_MASK", "POSTPROCESSED"]
        assert names == [output.name for output in triton.outputs] == [output.name for output in embedded.outputs]
        for one, other in zip(triton.outputs, embedded.outputs, strict=True):
            assert one.shape[:2] == other.shape[:2] == SIZE
            assert np.abs(one.data.astype(int) - other.data.astype(int)).max() <= 2, one.name


async def test_the_products_own_pixels_are_kept(engines, archive):
    async with resident(engines[1], archive) as entry:
        answer = await engines[1].infer(entry, wish(mask()))
    post_processed = answer.outputs[3].data
    assert (post_processed[25:45, 35:65] == picture(*SIZE)[25:45, 35:65]).all()


async def test_refusals(engines, archive):
    failed = await assert_fail_alike(
        engines,
        archive,
        wish(mask(height=10)),
        wish(mask(white=0)),
        wish(mask(), steps=-1),
        wish(mask(), number("GUIDANCE", float("nan"), "FP32")),
        wish(mask(), text("SCHEDULER", "heun")),
    )
    assert {InvalidRequest} == set(failed)
