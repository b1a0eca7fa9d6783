"""Image classification from the builder to the client: real labels, every payload, real SDKs, hostile pictures."""

import base64
import io
import json
import tarfile
import warnings
from concurrent.futures import ThreadPoolExecutor

import boto3
import numpy as np
import pytest
import requests
import tritonclient.http as triton
from botocore.config import Config
from PIL import Image

from builders.families import image_classification
from server.archive.staging import stage_folder
from server.engines.completion import complete
from tests.fakes import image_archives
from tests.fakes.image_archives import damaged, drawn, hostile, saved, upright
from tests.integration.live_server import live_server

pytestmark = [pytest.mark.builders, pytest.mark.xdist_group("images")]

TARGET = "X-Amzn-SageMaker-Target-Model"
NPY = "application/x-npy"
REAL, TINY, TENSORFLOW = "lite0.tar.gz", "tiny.tar.gz", "tensorflow.tar.gz"
PHOTOS = {"chelsea.png": "Egyptian cat", "coffee.png": "espresso"}


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return image_archives.store(tmp_path_factory)


def running(engine, store, folder):
    return live_server(folder, "--engine", engine, "--store", store, environ={"SAGEMAKER_MULTI_MODEL": "true"})


@pytest.fixture(scope="module")
def embedded(store, tmp_path_factory):
    with running("embedded", store, tmp_path_factory.mktemp("images-embedded")) as live:
        yield live


@pytest.fixture(scope="module")
def supervised(store, tmp_path_factory):
    with running("triton", store, tmp_path_factory.mktemp("images-triton")) as live:
        yield live


@pytest.fixture(params=["embedded", pytest.param("supervised", marks=pytest.mark.triton)])
def server(request):
    """One engine after the other; what both do alike with odd pictures, `tests/differential` shows."""
    return request.getfixturevalue(request.param)


def photo(name):
    from importlib.resources import files

    return files("skimage").joinpath("data", name).read_bytes()


def ask(server, body, kind, target=TINY, accept=""):
    headers = {TARGET: target, "Content-Type": kind, **({"Accept": accept} if accept else {})}
    return requests.post(f"{server.base_url}/invocations", data=body, headers=headers, timeout=60)


def probabilities(server, file, target=TINY, kind="image/*"):
    answer = ask(server, file, kind, target, NPY)
    assert answer.status_code == 200, answer.text
    return np.load(io.BytesIO(answer.content))[0]


@pytest.mark.parametrize(("name", "label"), PHOTOS.items())
def test_a_photo_gets_its_right_label(server, name, label):
    answer = ask(server, photo(name), "image/png", REAL)
    assert answer.status_code == 200, answer.text
    best = answer.json()[0]
    assert best["label"] == label
    assert best["score"] > 0.7
    assert len(answer.json()) == 5


def test_the_same_photo_by_every_road(server):
    file = photo("coffee.png")
    pixels = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    array = io.BytesIO()
    np.save(array, pixels)
    text = base64.b64encode(file).decode()
    wanted = ask(server, file, "image/png", REAL).json()
    for body, kind in (
        (file, "application/octet-stream"),
        (saved(Image.fromarray(pixels), "BMP"), "image/bmp"),
        (saved(Image.fromarray(pixels), "WEBP", lossless=True), "image/webp"),
        (array.getvalue(), NPY),
        (json.dumps({"inputs": text}), "application/json"),
    ):
        got = ask(server, body, kind, REAL).json()
        assert [each["label"] for each in got] == [each["label"] for each in wanted], kind
        assert [each["score"] for each in got] == pytest.approx([each["score"] for each in wanted], abs=1e-4)


def test_the_walk_through_of_aws(server):
    """A KServe document with nested lists, as octet-stream, with TargetModel: 1001 probabilities come back."""
    file = np.frombuffer(saved(drawn(), "JPEG"), np.uint8)
    document = {"inputs": [{"name": "INPUT", "shape": [1, len(file)], "datatype": "UINT8", "data": [file.tolist()]}]}
    runtime = boto(server)
    answer = runtime.invoke_endpoint(
        EndpointName="any",
        ContentType="application/octet-stream",
        Body=json.dumps(document),
        TargetModel=TENSORFLOW,
    )
    (output,) = json.loads(answer["Body"].read())["outputs"]
    assert (output["name"], output["shape"]) == ("OUTPUT", [1, 1001])
    assert output["data"][0] == 0  # the background
    assert sum(output["data"]) == pytest.approx(1, abs=1e-4)
    assert ask(server, file.tobytes(), "image/jpeg", TENSORFLOW).json()[0]["label"].startswith("class ")
    runtime.close()


def boto(server):
    return boto3.client(
        "sagemaker-runtime",
        endpoint_url=server.base_url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1, "mode": "legacy"}),
    )


@pytest.mark.filterwarnings("ignore")
def test_predictors_of_the_sagemaker_sdk(server):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sagemaker import Session
        from sagemaker.deserializers import JSONDeserializer, NumpyDeserializer
        from sagemaker.predictor import Predictor
        from sagemaker.serializers import DataSerializer, IdentitySerializer, JSONSerializer, NumpySerializer
    runtime = boto(server)
    session = Session(
        boto_session=boto3.Session("any", "any", region_name="us-east-1"), sagemaker_runtime_client=runtime
    )
    file = saved(drawn())
    pixels = np.asarray(drawn())
    base = {"inputs": base64.b64encode(file).decode(), "parameters": {"top_k": 5}}
    for data, serializer in (
        (file, IdentitySerializer("image/png")),
        (file, DataSerializer("image/jpeg")),
        (file, IdentitySerializer()),
        (pixels, NumpySerializer(dtype=np.uint8)),
        (base, JSONSerializer()),
    ):
        told = Predictor("any", session, serializer, JSONDeserializer()).predict(data, target_model=TINY)
        assert len(told) == 5
        array = Predictor("any", session, serializer, NumpyDeserializer()).predict(data, target_model=TINY)
        np.testing.assert_allclose(array, probabilities(server, file)[None], atol=1e-6)
        assert told[0]["score"] == pytest.approx(float(array.max()), abs=1e-6)
    runtime.close()


def test_tritonclient_with_binary_tensors_and_classes(server):
    files = [np.frombuffer(saved(drawn(seed=seed), form), np.uint8) for seed, form in ((0, "PNG"), (1, "JPEG"))]
    rows = np.zeros((2, max(map(len, files))), np.uint8)
    for row, file in zip(rows, files, strict=True):
        row[: len(file)] = file
    given = triton.InferInput("INPUT", list(rows.shape), "UINT8")
    given.set_data_from_numpy(rows)
    with triton.InferenceServerClient(server.base_url.removeprefix("http://")) as client:
        scores = client.infer(TINY, [given]).as_numpy("OUTPUT")
        asked = [triton.InferRequestedOutput("OUTPUT", class_count=3)]
        classes = client.infer(TINY, [given], outputs=asked).as_numpy("OUTPUT")
    for index, file in enumerate(files):
        np.testing.assert_allclose(scores[index], probabilities(server, file.tobytes()), atol=1e-5)
    assert classes.shape == (2, 3)
    value, index, label = classes[0, 0].decode().split(":")
    assert (label, float(value)) == (f"class {index}", pytest.approx(scores[0].max(), abs=1e-5))


@pytest.mark.parametrize("kind", hostile())
def test_an_odd_file_counts_as_the_picture_it_holds(embedded, kind):
    file = hostile()[kind]
    plain = saved(upright(file))
    np.testing.assert_allclose(probabilities(embedded, file), probabilities(embedded, plain), atol=2e-3)


@pytest.mark.parametrize("kind", damaged())
def test_a_damaged_file_is_a_clear_refusal_and_its_neighbours_are_unharmed(embedded, kind):
    good = [saved(drawn(seed=seed)) for seed in range(4)]
    wanted = [probabilities(embedded, file) for file in good]
    with ThreadPoolExecutor(8) as threads:
        bad = [threads.submit(ask, embedded, damaged()[kind], "image/jpeg") for _ in range(3)]
        got = [threads.submit(probabilities, embedded, file) for file in good]
        answers = [each.result() for each in bad]
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_allclose(one.result(), other, atol=1e-5)
    for answer in answers:
        assert answer.status_code == 400, answer.text
        assert "image" in answer.json()["error"]
        assert "/" not in answer.json()["error"].replace("JPEG/", "")


def test_a_damaged_file_by_the_roads_that_codecs_do_not_see(server):
    """As a KServe tensor, in a batch with a good one: the pipeline itself has to say which."""
    for kind in ("truncated.jpg", "20000x20000.png"):
        bad, good = np.frombuffer(damaged()[kind], np.uint8), np.frombuffer(saved(drawn()), np.uint8)
        rows = np.zeros((2, max(len(bad), len(good))), np.uint8)
        rows[0, : len(good)], rows[1, : len(bad)] = good, bad
        document = {
            "inputs": [{"name": "INPUT", "shape": list(rows.shape), "datatype": "UINT8", "data": rows.ravel().tolist()}]
        }
        answer = ask(server, json.dumps(document), "application/json")
        assert answer.status_code == 400, answer.text
        assert "entry 1 of the batch" in answer.json()["error"]


def digests(archive, folder):
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    staged = stage_folder(folder, archive.name, "1", folder.parent / "steps", complete, link=True)
    return {step.name: step.digest for step in staged.steps}


def test_the_same_build_twice_gives_the_same_steps(store, tmp_path):
    again = image_classification.build(image_archives.TINY, tmp_path / "elsewhere" / TINY)
    assert digests(again, tmp_path / "second") == digests(store / TINY, tmp_path / "first")
    assert again.read_bytes() == (store / TINY).read_bytes()


def test_archives_of_one_size_share_their_preprocessing(store, tmp_path):
    first, second = digests(store / TINY, tmp_path / "a"), digests(store / TENSORFLOW, tmp_path / "b")
    assert first["preprocess"] == second["preprocess"]
    assert first["classifier"] != second["classifier"]


def test_the_manifest_has_the_figures_of_parity(store):
    with tarfile.open(store / REAL) as tar:
        manifest = json.load(tar.extractfile("roundhouse.json"))
    assert manifest["task"] == "image-classification"
    assert manifest["parity"]["max_log_probability_error"] < 1e-5
    assert manifest["parity"]["mean_grey_level_error"] < 0.5
