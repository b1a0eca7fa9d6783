"""The onnxruntime backend inside the engine: numbers against numpy, loads that fail, warm-ups, memory."""

import gc

import numpy as np
import pytest

from server.domain.errors import InvalidArchive, InvalidRequest, LoadFailed, UnsupportedModel
from server.domain.inference import NUMPY_BY_DATATYPE, InferenceRequest, Tensor
from server.engines.embedded.engine import EmbeddedEngine
from server.engines.embedded.memory import host_memory
from tests.fakes import repositories

MB = 1 << 20


@pytest.fixture
async def engine():
    engine = EmbeddedEngine()
    await engine.start(lambda lost: None)
    yield engine
    await engine.stop()


def request(data, datatype="FP32", outputs=()):
    return InferenceRequest({"INPUT0": Tensor("INPUT0", datatype, data)}, outputs)


async def load(engine, root):
    steps = repositories.staged_steps(root)
    footprints = [await engine.load(step) for step in steps]
    return steps[-1], footprints[-1]


async def run(engine, root, data, datatype="FP32"):
    step, _ = await load(engine, root)
    return (await engine.infer(step.digest, request(data, datatype))).outputs[0]


@pytest.mark.parametrize("is_external", [False, True])
async def test_a_model_computes_what_numpy_computes(engine, tmp_path, is_external):
    data = np.random.default_rng(0).standard_normal((5, 4), dtype=np.float32)
    root = repositories.onnx_linear(tmp_path / "m", seed=3, ballast_bytes=100_000, is_external=is_external)
    answer = await run(engine, root, data)
    np.testing.assert_allclose(answer.data, data @ repositories.linear_weights(seed=3), rtol=1e-5)


async def test_an_ensemble_computes_what_numpy_computes(engine, tmp_path):
    data = np.random.default_rng(0).standard_normal((5, 4), dtype=np.float32)
    answer = await run(engine, repositories.linear_pipeline(tmp_path), data)
    np.testing.assert_allclose(answer.data, repositories.linear_pipeline_answer(data), rtol=1e-5)


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "INT8", "INT32", "INT64", "FP16", "FP32", "FP64"])
async def test_every_datatype_goes_through(engine, tmp_path, datatype):
    data = np.array([[0, 1, 0, 1]], NUMPY_BY_DATATYPE[datatype])
    answer = await run(engine, repositories.onnx_identity(tmp_path / "m", datatype=datatype), data, datatype)
    assert (answer.datatype, answer.data.dtype) == (datatype, data.dtype)
    np.testing.assert_array_equal(answer.data, data)


async def test_strings_go_through_as_bytes(engine, tmp_path):
    data = np.array([["größe".encode(), b""]], np.object_)
    answer = await run(engine, repositories.onnx_identity(tmp_path / "m", datatype="BYTES", dims=[-1]), data, "BYTES")
    assert answer.data.tolist() == data.tolist()


async def test_strings_must_be_utf8(engine, tmp_path):
    root = repositories.onnx_identity(tmp_path / "m", datatype="BYTES", dims=[1])
    with pytest.raises(InvalidRequest, match=r"'INPUT0'.*UTF-8"):
        await run(engine, root, np.array([[b"\xff"]], np.object_), "BYTES")


async def test_reshape_is_honoured_on_both_sides(engine, tmp_path):
    root = repositories.onnx_identity(tmp_path / "m", dims=[2, 2])
    reshaped = "dims: [ 4 ] reshape { shape: [ 2, 2 ] }"
    config = root / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: [ 2, 2 ]", reshaped))
    data = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal((await run(engine, root, data)).data, data)


async def test_a_model_without_batching(engine, tmp_path):
    root = repositories.onnx_linear(tmp_path / "m", max_batch_size=0)
    answer = await run(engine, root, np.ones(4, np.float32))
    assert answer.shape == (2,)


def broken(root, old, new):
    config = root / "config.pbtxt"
    config.write_text(config.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name: "INPUT0"', 'name: "IN"', r"inputs \['INPUT0'\] are missing"),
        ('name: "OUTPUT0"', 'name: "OUT"', "output 'OUT' is not in the graph"),
        ("TYPE_FP32", "TYPE_INT32", "'INPUT0' is INT32 in the config and FP32 in the graph"),
        ("dims: [ 4 ]", "dims: [ 5 ]", r"has shape \[-1, 5\] in the config .*'batch', 4\] in the graph"),
        ("max_batch_size: 8", "max_batch_size: 0", r"has shape \[4\]"),
        ('name: "m"', 'name: "m" default_model_filename: "other.onnx"', "no file 1/other.onnx"),
        ("max_batch_size: 8", "max_batch_size: eight", "does not parse"),
    ],
)
async def test_a_config_that_contradicts_its_files_does_not_load(engine, tmp_path, old, new, words):
    root = repositories.onnx_linear(tmp_path / "m")
    (step,) = repositories.staged_steps(root)
    broken(root, old, new)
    with pytest.raises(InvalidArchive, match=words):
        await engine.load(step)


async def test_a_file_that_is_no_model_does_not_load(engine, tmp_path):
    root = repositories.onnx_linear(tmp_path / "m")
    (root / "1" / "model.onnx").write_bytes(b"junk")
    with pytest.raises(LoadFailed, match="'m'") as caught:
        await load(engine, root)
    assert str(tmp_path) not in str(caught.value)


async def test_what_the_engine_lacks_does_not_load(engine, tmp_path):
    root = repositories.onnx_linear(tmp_path / "m", extra="sequence_batching { }")
    with pytest.raises(UnsupportedModel, match="sequence_batching"):
        await load(engine, root)


def warmup(**fields):
    data = " ".join(f"{key}: {value}" for key, value in fields.items())
    return f'model_warmup {{ name: "w" batch_size: 2 inputs {{ key: "INPUT0" value: {{ {data} }} }} }}'


FP32 = {"data_type": "TYPE_FP32", "dims": "4"}


@pytest.mark.parametrize("source", [{"zero_data": "true"}, {"random_data": "true"}, {"input_data_file": '"raw"'}])
async def test_warm_ups_run_before_the_step_counts_as_loaded(engine, tmp_path, source):
    root = repositories.onnx_linear(tmp_path / "m", extra=warmup(**FP32, **source))
    (root / "warmup").mkdir()
    (root / "warmup" / "raw").write_bytes(np.ones((2, 4), np.float32).tobytes())
    _, footprint = await load(engine, root)
    assert footprint.on("cpu") > 0


async def test_strings_for_a_warm_up_come_from_a_file(engine, tmp_path):
    extra = warmup(data_type="TYPE_STRING", dims="1", input_data_file='"raw"')
    root = repositories.onnx_identity(tmp_path / "m", datatype="BYTES", dims=[1], extra=extra)
    (root / "warmup").mkdir()
    (root / "warmup" / "raw").write_bytes(b"\x02\0\0\0hi\0\0\0\0")
    step, _ = await load(engine, root)
    assert step.name == "m"


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"data_type": "TYPE_FP32", "dims": "5", "zero_data": "true"}, LoadFailed, "warm-up 'w' failed.*got"),
        ({**FP32, "input_data_file": '"missing"'}, InvalidArchive, "warmup/missing cannot be read"),
        ({**FP32, "input_data_file": '"../config.pbtxt"'}, InvalidArchive, "outside"),
        ({**FP32, "dims": "-1", "zero_data": "true"}, InvalidArchive, "without -1"),
    ],
)
async def test_a_warm_up_that_fails_fails_the_load(engine, tmp_path, fields, error, words):
    root = repositories.onnx_linear(tmp_path / "m", extra=warmup(**fields))
    (step,) = repositories.staged_steps(root)
    with pytest.raises(error, match=words):
        await engine.load(step)
    assert engine.describe()["steps"] == 0


async def test_footprints_are_what_the_process_gains_and_unloading_gives_it_back(engine, tmp_path):
    roots = [
        repositories.onnx_linear(tmp_path / f"m{i}", ballast_bytes=24 * MB, is_external=i % 2 == 0) for i in range(4)
    ]
    host_memory.collect_and_release()
    before = host_memory.anonymous_bytes()
    loaded = [await load(engine, root) for root in roots]
    charged = sum(footprint.on("cpu") for _, footprint in loaded)
    gained = host_memory.anonymous_bytes() - before
    assert gained == pytest.approx(charged, rel=0.15)
    for step, _ in loaded:
        await engine.unload(step.digest)
    gc.collect()
    assert host_memory.anonymous_bytes() - before < 10 * MB


async def test_a_failed_load_leaves_no_memory_behind(engine, tmp_path):
    root = repositories.onnx_linear(tmp_path / "m", ballast_bytes=24 * MB)
    (step,) = repositories.staged_steps(root)
    broken(root, 'name: "OUTPUT0"', 'name: "OUT"')
    before = host_memory.anonymous_bytes()
    with pytest.raises(InvalidArchive) as remembered:
        await engine.load(step)
    assert host_memory.anonymous_bytes() - before < 10 * MB
    assert remembered.value is not None
