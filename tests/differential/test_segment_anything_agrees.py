"""Segment Anything through the real Triton and through the embedded engine: equal masks; and one embedding for many."""

import numpy as np
import pytest

from server.domain.errors import InvalidRequest
from server.engines.embedded.engine import EmbeddedEngine
from server.engines.triton.options import TritonOptions
from tests.differential.comparing import assert_agree, assert_fail_alike, request, tensor
from tests.differential.engines import resident, running_triton, staged
from tests.fakes.sam_archive import encoded, picture, sam_archive

pytestmark = [
    pytest.mark.triton,
    pytest.mark.builders,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("generative"),
]

BOX = tensor(np.array([50, 48, 120, 90], np.float32), name="BOX")
POINTS = tensor(np.array([[40, 38], [3, 4]], np.float32), name="POINTS")
LABELS = tensor(np.array([1, 0], np.int32), "INT32", "POINT_LABELS")
ONE_MASK = tensor(np.array([False]), "BOOL", "MULTIMASK")
MASK = tensor(np.linspace(-5, 5, 256 * 256, dtype=np.float32).reshape(256, 256), name="MASK_INPUT")


def image(array=None, **options):
    file = encoded(picture() if array is None else array, **options)
    return tensor(np.frombuffer(file, np.uint8), "UINT8", "IMAGE")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return staged(sam_archive(), tmp_path_factory.mktemp("steps"))


async def test_every_kind_of_prompt(engines, archive):
    answers = await assert_agree(
        engines,
        archive,
        request(image()),
        request(image(form="JPEG"), BOX),
        request(image(picture(77, 50)), ONE_MASK),
        request(image(), POINTS, LABELS),
        request(image(), POINTS, LABELS, BOX, ONE_MASK),
        request(image(), MASK),
        request(image(), BOX, outputs=["IOU", "MASKS"]),
    )
    assert [answer.outputs[0].shape for answer in answers[:3]] == [(3, 96, 128), (3, 96, 128), (1, 77, 50)]


async def test_refusals(engines, archive):
    outside = tensor(np.array([500, 500, 600, 600], np.float32), name="BOX")
    infinite = tensor(np.array([0, 0, np.inf, 5], np.float32), name="BOX")
    no_image = tensor(np.frombuffer(b"no image", np.uint8), "UINT8", "IMAGE")
    failed = await assert_fail_alike(
        engines,
        archive,
        request(image(), outside),
        request(image(), infinite),
        request(image(), POINTS),
        request(image(), tensor(np.zeros((128, 128), np.float32), name="MASK_INPUT")),
        request(no_image),
    )
    assert failed[0] is InvalidRequest


async def test_a_cache_changes_no_answer_on_either_engine(engines, archive, tmp_path):
    asked = [request(image(), BOX), request(image(), POINTS, LABELS), request(image(), BOX)]
    cached = EmbeddedEngine(response_cache_bytes=64 << 20)
    await cached.start(lambda lost: None)
    options = TritonOptions(tmp_path, response_cache_bytes=64 << 20)
    async with running_triton(tmp_path, options=options) as cached_triton:
        answers = await assert_agree((cached, cached_triton), archive, *asked)
    assert cached.describe()["response_cache"]["misses"] == 1
    await cached.stop()
    async with resident(engines[1], archive) as entry:
        plain = [await engines[1].infer(entry, each) for each in asked]
    for one, other in zip(answers, plain, strict=True):
        assert [each.data.tolist() for each in one.outputs] == [each.data.tolist() for each in other.outputs]
