"""DALI steps: the embedded engine and the Python-based backend of the pip Triton give the same pixels and refusals."""

import io

import numpy as np
import pytest
from PIL import Image

from server.domain.errors import InvalidArchive, InvalidRequest, LoadFailed, UnsupportedModel
from tests.differential.comparing import assert_agree, assert_fail_alike, request, tensor
from tests.differential.engines import staged
from tests.fakes import dali_repositories

pytestmark = [pytest.mark.triton, pytest.mark.asyncio(loop_scope="session")]


def encoded(form="PNG", size=(9, 7), **how):
    pixels = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **how)
    return np.frombuffer(file.getvalue(), np.uint8)


def padded(*files):
    longest = max(map(len, files))
    return np.stack([np.pad(file, (0, longest - len(file))) for file in files])


def images(*files):
    return request(tensor(padded(*files), "UINT8", name="IMAGE"))


async def test_images_of_different_sizes_in_one_batch(engines, tmp_path):
    archive = staged(dali_repositories.decoder(tmp_path / "decoder", size=8))
    answers = await assert_agree(
        engines,
        archive,
        images(encoded()),
        images(encoded(size=(30, 11)), encoded("JPEG", size=(200, 100)), encoded("BMP", size=(3, 90))),
    )
    assert [each.outputs[0].shape for each in answers] == [(1, 8, 8, 3), (3, 8, 8, 3)]
    assert answers[1].outputs[1].data.tolist() == [[11, 30], [100, 200], [90, 3]]


async def test_bad_images_fail_alike_and_the_next_request_succeeds(engines, tmp_path):
    archive = staged(dali_repositories.decoder(tmp_path / "decoder", size=8))
    cut = encoded("JPEG", size=(200, 100))[:-2000]
    empty = request(tensor(np.zeros((1, 0), np.uint8), "UINT8", name="IMAGE"))
    told = await assert_fail_alike(
        engines, archive, images(np.arange(50, dtype=np.uint8)), images(encoded(), cut), empty
    )
    assert told == [InvalidRequest] * 3
    await assert_agree(engines, archive, images(encoded()))


async def test_pipelines_that_do_not_load_are_refused_alike(engines, tmp_path):
    junk = dali_repositories.decoder(tmp_path / "junk", size=8)
    (junk / "1" / "model.dali").write_bytes(b"junk")
    for_gpu = dali_repositories.decoder(tmp_path / "for_gpu", size=8)
    (for_gpu / "1" / "model.dali").write_bytes(dali_repositories.serialized(8, device="mixed"))
    unfit = dali_repositories.decoder(tmp_path / "unfit", size=8, declares=True)
    config = (unfit / "config.pbtxt").read_text()
    (unfit / "config.pbtxt").write_text(config.replace("TYPE_INT64", "TYPE_INT32"))
    each = images(encoded())
    assert await assert_fail_alike(engines, staged(junk), each) == [LoadFailed]
    assert await assert_fail_alike(engines, staged(for_gpu), each) == [UnsupportedModel]
    assert await assert_fail_alike(engines, staged(unfit), each) == [InvalidArchive]
