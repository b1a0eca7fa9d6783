"""The DALI pipelines that builders write: the same bytes anywhere, what Pillow computes, and what a GPU will run."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tritonclient.grpc import model_config_pb2 as pb

from builders.export import dali_pipeline, dali_sam
from builders.export.dali_pipeline import Preprocessing
from builders.pipeline import image_parity
from builders.pipeline.pictures import probe_pictures
from builders.pipeline.run_dali import run_dali
from builders.triton_config import model as triton
from builders.triton_config.dali import dali_config
from server.archive.model_config import parse
from tests.golden.golden import check

pytestmark = pytest.mark.builders

ROOT = Path(__file__).resolve().parents[3]
SQUEEZED = Preprocessing(32, mean=(127.5,) * 3, std=(127.5,) * 3)
CROPPED = Preprocessing(32, mean=(127.0,) * 3, std=(128.0,) * 3, shorter_side=40, interpolation="cubic")


def text(how=SQUEEZED, device="cpu"):
    return dali_pipeline.classification_source(how, source="INPUT", max_batch_size=4, device=device)


@pytest.mark.parametrize("how", [SQUEEZED, CROPPED])
def test_pictures_come_out_as_pillow_prepares_them(tmp_path, how):
    pictures = probe_pictures()
    pipeline = dali_pipeline.write(text(how), tmp_path)
    tensors = [outputs[0] for outputs in run_dali(pipeline, "INPUT", list(pictures.values()))]
    for name, tensor in zip(pictures, tensors, strict=True):
        assert (tensor.shape, tensor.dtype) == ((32, 32, 3), np.float32)
        levels = np.abs(tensor - image_parity.preprocessed(pictures[name], how)).mean() * how.std[0]
        limit = 0.5 if how.shorter_side is None else 12  # half a pixel beside Pillow's, where a side is odd
        assert levels < limit, name


def test_channels_first_is_the_same_picture(tmp_path):
    picture = probe_pictures()["photo.jpg"]
    first = Preprocessing(32, mean=(1, 2, 3), std=(4, 5, 6), layout="CHW")
    last = Preprocessing(32, mean=(1, 2, 3), std=(4, 5, 6))
    (((one,),), ((other,),)) = (
        run_dali(dali_pipeline.write(text(how), tmp_path / how.layout), "INPUT", [picture]) for how in (first, last)
    )
    np.testing.assert_array_equal(one, other.transpose(2, 0, 1))


def test_the_bytes_do_not_tell_where_the_checkout_lies(tmp_path):
    """Built by the same code at another path: equal bytes, and no path of either in them."""
    elsewhere = tmp_path / "another" / "checkout"
    elsewhere.mkdir(parents=True)
    for package in ("builders", "server"):
        (elsewhere / package).symlink_to(ROOT / package)
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from builders.export import dali_pipeline as d\n"
        "how = d.Preprocessing(32, mean=(127.5,) * 3, std=(127.5,) * 3)\n"
        "text = d.classification_source(how, source='INPUT', max_batch_size=4)\n"
        "sys.stdout.write(d.serialized(text).hex())\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=elsewhere, env=environment, capture_output=True, text=True, check=True
    )
    written = dali_pipeline.serialized(text())
    assert bytes.fromhex(done.stdout) == written
    for made in (written, dali_pipeline.serialized(dali_sam.sam_source(max_batch_size=1, side=64))):
        for folder in (str(ROOT), str(elsewhere), str(Path.home()), "site-packages", "dist-packages"):
            assert folder.encode() not in made


def test_a_pipeline_for_a_gpu_is_written_without_one(tmp_path):
    pipeline = dali_pipeline.write(text(device="mixed"), tmp_path)
    assert b"mixed" in pipeline.read_bytes()
    assert 'device="mixed"' in (tmp_path / "dali.py").read_text()
    assert b"mixed" not in dali_pipeline.serialized(text())


def test_the_source_that_goes_with_it_is_the_pipeline_itself(tmp_path):
    pipeline = dali_pipeline.write(text(), tmp_path)
    assert dali_pipeline.serialized((tmp_path / "dali.py").read_text()) == pipeline.read_bytes()


@pytest.mark.parametrize("size", [(640, 480), (480, 641), (90, 70), (1, 300), (2000, 3)])
def test_segment_anything_gets_its_longer_side_and_zeros(tmp_path, size):
    file = io.BytesIO()
    Image.new("RGB", size, (255, 0, 0)).save(file, "PNG")
    pipeline = dali_pipeline.write(dali_sam.sam_source(max_batch_size=1, side=64), tmp_path)
    ((tensor, original),) = run_dali(pipeline, "IMAGE", [file.getvalue()])
    scale = 64 / max(size)
    width, height = (int(side * scale + 0.5) for side in size)  # ResizeLongestSide.get_preprocess_shape
    assert tensor.shape == (3, 64, 64)
    assert original.tolist() == [size[1], size[0]]
    red = (255 - dali_sam.MEAN[0]) / dali_sam.STD[0]
    np.testing.assert_allclose(tensor[0, : max(height, 1), : max(width, 1)], red, atol=1e-5)
    assert not tensor[:, max(height, 1) :].any()
    assert not tensor[:, :, max(width, 1) :].any()


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_the_config_of_a_dali_step_is_golden(target):
    outputs = [triton.Field("IMAGE", "TYPE_FP32", (299, 299, 3))]
    config = dali_config(name="preprocess", source="INPUT", outputs=outputs, max_batch_size=16, target=target)
    assert parse(triton.text(config)) == config
    assert isinstance(config, pb.ModelConfig)
    check(f"dali_{target}.config.pbtxt", triton.text(config))
