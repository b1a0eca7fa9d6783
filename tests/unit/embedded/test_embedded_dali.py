"""The dali backend inside the engine: pixels against Pillow, bad images among good ones, configs that do not fit."""

import asyncio
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from server.archive.model_config import parse
from server.domain.errors import DeviceFull, InvalidArchive, InvalidRequest, LoadFailed, UnsupportedModel
from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.engines.dali_pipeline import DaliPipeline
from server.engines.embedded.backends.dali import DaliBackend, DaliStep, device_index
from server.engines.embedded.config.devices import Hardware
from server.engines.embedded.engine import EmbeddedEngine
from tests.fakes import dali_repositories, repositories

pytestmark = pytest.mark.builders


@pytest.fixture
async def engine():
    engine = EmbeddedEngine()
    await engine.start(lambda lost: None)
    yield engine
    await engine.stop()


def pixels(seed=0, size=(9, 7)):
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


def encoded(seed=0, size=(9, 7), form="PNG", **how):
    file = io.BytesIO()
    Image.fromarray(pixels(seed, size)).save(file, form, **how)
    return file.getvalue()


def request(*files):
    rows = np.zeros((len(files), max(map(len, files))), np.uint8)
    for row, file in zip(rows, files, strict=True):
        row[: len(file)] = np.frombuffer(file, np.uint8)
    return InferenceRequest({"IMAGE": Tensor("IMAGE", "UINT8", rows)})


async def load(engine, root):
    (step,) = repositories.staged_steps(root)
    return step, await engine.load(step)


async def test_pixels_come_out_as_pillow_decodes_them(engine, tmp_path):
    step, footprint = await load(engine, dali_repositories.decoder(tmp_path / "decoder"))
    answer = await engine.infer(step.digest, request(encoded(3)))
    np.testing.assert_array_equal(answer.outputs[0].data[0], pixels(3))
    assert answer.outputs[1].data.tolist() == [[7, 9]]
    assert 0 < footprint.on("cpu") < 200 << 20


async def test_images_of_one_request_that_give_different_shapes_are_refused(engine, tmp_path):
    step, _ = await load(engine, dali_repositories.decoder(tmp_path / "decoder"))
    with pytest.raises(InvalidRequest, match="different shapes"):
        await engine.infer(step.digest, request(encoded(), encoded(size=(4, 4))))


BAD = {
    "cut off": encoded(form="JPEG", size=(300, 200))[:3000],
    "no image": b"hello " * 40,
    "nothing": b"",
    "damaged": encoded()[:40] + bytes(200),
    "huge": encoded()[:16] + (20_000).to_bytes(4, "big") * 2 + encoded()[24:],
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_image_fails_its_own_request_only(engine, tmp_path, kind):
    step, _ = await load(engine, dali_repositories.decoder(tmp_path / "decoder", instances=2))
    files = [BAD[kind] if index % 3 == 1 else encoded(index) for index in range(9)]
    outcomes = await asyncio.gather(
        *(engine.infer(step.digest, request(file)) for file in files), return_exceptions=True
    )
    for index, outcome in enumerate(outcomes):
        if index % 3 == 1:
            assert isinstance(outcome, InvalidRequest), outcome
            assert "image" in str(outcome)
        else:
            np.testing.assert_array_equal(outcome.outputs[0].data[0], pixels(index))


async def test_a_bad_image_in_a_batch_of_requests_spares_the_others(tmp_path):
    root = dali_repositories.decoder(tmp_path / "decoder", size=8)
    (step,) = repositories.staged_steps(root)
    loaded = DaliBackend(Hardware()).load(step, parse((root / "config.pbtxt").read_text()), None)
    good, bad = request(encoded(1), encoded(2, (30, 20))), request(encoded(3), BAD["cut off"])
    outcomes = loaded.execute_all([good, bad, request(BAD["huge"]), good])
    assert [type(each) for each in outcomes] == [InferenceResponse, InvalidRequest, InvalidRequest, InferenceResponse]
    assert "entry 1 of the batch" in str(outcomes[1])
    assert "20000x20000 pixels" in str(outcomes[2])
    alone = loaded.execute(good)
    for one, other in zip(outcomes[0].outputs, alone.outputs, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
    loaded.close()


def serialized(root, content):
    (root / "1" / "model.dali").write_bytes(content)


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        ('name: "IMAGE"', 'name: "PHOTO"', InvalidArchive, "no external_source of the name 'PHOTO'"),
        ("TYPE_UINT8 dims: [ 8", "TYPE_FP32 dims: [ 8", InvalidArchive, "float32 in the config and uint8"),
        ("dims: [ 8, 8, 3 ]", "dims: [ 8, 8 ]", InvalidArchive, "2 dims in the config and 3"),
        ('output [ { name: "SIZE" data_type: TYPE_INT64 dims: [ 2 ] } ]', "", InvalidArchive, "gives 2 outputs.*has 1"),
        ("max_batch_size: 4", "max_batch_size: 0", InvalidArchive, "max_batch_size > 0"),
        ('string_value: "1"', 'string_value: "many"', InvalidArchive, "num_threads must be 1 to 256"),
        ("KIND_CPU", "KIND_GPU", UnsupportedModel, "no GPU"),
        ("TYPE_UINT8 dims: [ -1 ]", "TYPE_STRING dims: [ 1 ]", InvalidArchive, "TYPE_STRING, which DALI"),
    ],
)
async def test_a_config_that_contradicts_the_pipeline_does_not_load(engine, tmp_path, old, new, error, words):
    root = dali_repositories.decoder(tmp_path / "decoder", size=8, declares=True)
    config = root / "config.pbtxt"
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    (step,) = repositories.staged_steps(root)
    with pytest.raises(error, match=words):
        await engine.load(step)


async def test_a_file_that_is_no_pipeline_does_not_load(engine, tmp_path):
    root = dali_repositories.decoder(tmp_path / "decoder")
    serialized(root, b"junk")
    (step,) = repositories.staged_steps(root)
    with pytest.raises(LoadFailed, match="DALI refused"):
        await engine.load(step)


async def test_a_pipeline_as_source_only_is_refused_with_advice(engine, tmp_path):
    root = dali_repositories.decoder(tmp_path / "decoder")
    (root / "1" / "model.dali").rename(root / "1" / "dali.py")
    (step,) = repositories.staged_steps(root)
    with pytest.raises(UnsupportedModel, match="serialize it here"):
        await engine.load(step)


async def test_a_pipeline_for_a_gpu_says_that_it_needs_one(engine, tmp_path):
    root = dali_repositories.decoder(tmp_path / "decoder")
    serialized(root, dali_repositories.serialized(device="mixed"))
    (step,) = repositories.staged_steps(root)
    with pytest.raises(UnsupportedModel, match="GPU"):
        await engine.load(step)


class FullPipeline:
    """A pipeline whose device has no memory left."""

    def run(self, requests):
        return [MemoryError("cudaMalloc failed: out of memory") for _ in requests]


def test_what_dali_says_of_a_full_device_is_kept(tmp_path):
    (step,) = repositories.staged_steps(dali_repositories.decoder(tmp_path / "decoder"))
    with pytest.raises(DeviceFull, match="cudaMalloc failed") as raised:
        DaliStep(step, [FullPipeline()], "gpu:1").execute(request(encoded()))
    assert (raised.value.device, raised.value.said) == ("gpu:1", "cudaMalloc failed: out of memory")


def test_the_device_of_a_pipeline():
    assert (device_index("cpu"), device_index("gpu:1")) == (None, 1)


def test_without_the_package_the_extra_is_named():
    code = (
        "import sys; sys.modules['nvidia.dali'] = None\n"
        "from server.engines.embedded.backends.dali import DaliBackend\n"
        "from server.engines.embedded.config.devices import Hardware\n"
        "from server.domain.errors import UnsupportedModel\n"
        "try: DaliBackend(Hardware()).prepare()\n"
        "except UnsupportedModel as error: print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 'pip install "roundhouse[dali]"' in told


@pytest.mark.parametrize("pixels_each", [0, 40_000_000, 100_000_000])
def test_large_pictures_run_in_several_goes_to_the_same_answer(pixels_each):
    pipeline = DaliPipeline(dali_repositories.serialized(8), 4, 1, None, lambda _body: (pixels_each, ""))
    plain = DaliPipeline(dali_repositories.serialized(8), 4, 1, None)
    requests = [
        {"IMAGE": request(encoded(1), encoded(2, (30, 20))).inputs["IMAGE"].data},
        {"IMAGE": request(encoded(3), encoded(4), encoded(5, (2, 40))).inputs["IMAGE"].data},
    ]
    for got, wanted in zip(pipeline.run(requests), plain.run(requests), strict=True):
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(one, other)
