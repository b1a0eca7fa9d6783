"""Every demo archive, real weights and all, through the real Triton and through the embedded engine: equal answers."""

from pathlib import Path

import numpy as np
import pytest

from server.archive.unpack import UnpackLimits, unpack
from tests.differential.comparing import assert_agree, request, tensor
from tests.differential.engines import staged

pytestmark = [pytest.mark.triton, pytest.mark.builders, pytest.mark.asyncio(loop_scope="session")]

ARCHIVES = Path(__file__).resolve().parents[2] / "model_repository" / "archives"
NAMES = ["minilm", "minilm-int8", "minilm-three-step", "topic"]
TEXTS = [["A man is eating food."], [""], ["Ein Rundlokschuppen hält Lokomotiven bereit. 🚂"], ["word " * 400]]


def texts(rows):
    return tensor(np.array([[cell.encode() for cell in row] for row in rows], dtype=np.object_), "BYTES")


@pytest.mark.parametrize("name", NAMES)
async def test_a_demo_archive_gives_the_same_numbers(engines, tmp_path, name):
    packed = ARCHIVES / f"{name}.tar.gz"
    assert packed.is_file(), f"{packed.name} is missing: make archives"
    root = tmp_path / name
    root.mkdir()
    with packed.open("rb") as file:
        unpack(file, root, UnpackLimits(total_bytes=1 << 30))
    await assert_agree(engines, staged(root), request(texts(TEXTS)), *(request(texts([row])) for row in TEXTS))
