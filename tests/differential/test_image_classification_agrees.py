"""Image classification archives, with random and with real weights: both engines alike."""

import io
import tarfile

import numpy as np
import pytest

from server.domain.errors import InvalidRequest
from tests.differential.comparing import assert_agree, assert_fail_alike, request, tensor
from tests.differential.engines import staged
from tests.fakes import image_archives
from tests.fakes.image_archives import damaged, drawn, hostile, saved

pytestmark = [
    pytest.mark.triton,
    pytest.mark.builders,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("images"),
]


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return image_archives.store(tmp_path_factory)


def unpacked(store, name, folder):
    with tarfile.open(fileobj=io.BytesIO((store / f"{name}.tar.gz").read_bytes())) as tar:
        tar.extractall(folder / name, filter="data")
    return staged(folder / name)


def pictures(*files):
    rows = np.zeros((len(files), max(map(len, files))), np.uint8)
    for row, file in zip(rows, files, strict=True):
        row[: len(file)] = np.frombuffer(file, np.uint8)
    return request(tensor(rows, "UINT8", name="INPUT"))


@pytest.mark.parametrize("name", ["tiny", "lite0"])
async def test_both_engines_classify_alike(engines, store, tmp_path, name):
    archive = unpacked(store, name, tmp_path)
    odd = [pictures(file) for file in hostile().values()]
    sizes = pictures(saved(drawn(30, 200)), saved(drawn(300, 40), "JPEG"), saved(drawn(5, 5), "BMP"))
    answers = await assert_agree(engines, archive, sizes, *odd)
    assert answers[0].outputs[0].shape == (3, 1000)
    assert answers[0].outputs[0].data.sum(axis=1) == pytest.approx(1, abs=1e-4)


async def test_both_engines_refuse_alike(engines, store, tmp_path):
    archive = unpacked(store, "tiny", tmp_path)
    bad = [pictures(file) for file in damaged().values()]
    assert set(await assert_fail_alike(engines, archive, *bad)) == {InvalidRequest}
