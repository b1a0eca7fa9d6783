"""Segment Anything from the build to the answer, with tiny random weights: parity, sharing, clients, hostile input."""

import base64
import io
import json

import boto3
import numpy as np
import pytest
import requests
import tritonclient.http as triton_http
from botocore.config import Config
from PIL import Image

from builders.checkpoints import segment_anything as checkpoints
from builders.families import segment_anything as family
from server.archive.manifest import read_manifest
from server.archive.staging import stage_folder
from server.engines.completion import complete
from tests.fakes.sam_archive import OPTIONS, encoded, picture, sam_archive
from tests.integration.live_server import live_server

pytestmark = [pytest.mark.builders, pytest.mark.xdist_group("generative")]

JSON, NPY, PNG = "application/json", "application/x-npy", "image/png"
PICTURE = picture()
HEIGHT, WIDTH = PICTURE.shape[:2]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sam-server")
    with live_server(folder, "--store", sam_archive().parent, "--engine", "embedded", "--threads", 1) as live:
        yield live


def digests(root, to):
    archive = stage_folder(root, "sam", "1", to, complete, link=True)
    return {step.name: step.digest for step in archive.steps}


def ask(server, body, content_type=JSON, accept=None):
    headers = {"content-type": content_type, "x-amzn-sagemaker-target-model": "sam"}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return requests.post(
        f"{server.base_url}/invocations", raw, headers=headers | ({"accept": accept} if accept else {}), timeout=60
    )


def with_image(**prompts):
    return {"image": base64.b64encode(encoded(PICTURE)).decode(), **prompts}


def cached(server):
    return requests.get(f"{server.base_url}/admin/server", timeout=10).json()["engine"]["response_cache"]


# --- the build --------------------------------------------------------------------------------------------------------


def test_the_manifest_tells_how_close_the_archive_is_to_the_reference():
    manifest = read_manifest(sam_archive())
    assert (manifest.task, manifest.entry_model) == ("image-segmentation", OPTIONS.name)
    assert manifest.parity["max_logit_error"] < 1e-4
    assert manifest.parity["min_mask_agreement"] >= 0.999
    assert manifest.parity["min_mask_agreement_from_encoded_picture"] >= 0.98


def test_the_same_build_gives_the_same_steps(tmp_path):
    """In this process as in that of `make archives`."""
    again = family.build(OPTIONS, tmp_path / "sam")
    assert digests(again, tmp_path / "one") == digests(sam_archive(), tmp_path / "two")
    assert (again / "roundhouse.json").read_text() == (sam_archive() / "roundhouse.json").read_text()


def test_a_checkpoint_file_is_the_same_model(tmp_path):
    import torch

    drawn = checkpoints.random("tiny", seed=3)
    torch.save(drawn.model.state_dict(), tmp_path / "sam.pth")
    read = checkpoints.read(tmp_path / "sam.pth")
    assert (read.size, read.weights_sha256) == ("tiny", drawn.weights_sha256)
    assert drawn.weights_sha256 != checkpoints.random("tiny", seed=4).weights_sha256


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "sam.pth").write_bytes(content)
    with pytest.raises(checkpoints.UnusableCheckpoint, match="not a Segment Anything checkpoint"):
        checkpoints.read(tmp_path / "sam.pth")


def test_weights_of_another_architecture_are_refused(tmp_path):
    import torch

    weights = checkpoints.random("tiny", seed=3).model.state_dict()
    torch.save({**weights, "image_encoder.pos_embed": torch.zeros(1, 64, 64, 99)}, tmp_path / "wide.pth")
    with pytest.raises(checkpoints.UnusableCheckpoint, match="width 99"):
        checkpoints.read(tmp_path / "wide.pth")
    del weights["mask_decoder.iou_token.weight"]
    torch.save(weights, tmp_path / "less.pth")
    with pytest.raises(checkpoints.UnusableCheckpoint, match="iou_token"):
        checkpoints.read(tmp_path / "less.pth")


# --- parity of what is served -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt",
    [
        {"point_coords": [[40, 38]], "point_labels": [1]},
        {"point_coords": [[90, 70], [3, 4]], "point_labels": [1, 0], "multimask_output": False},
        {"box": [50, 48, 120, 90]},
    ],
    ids=["point", "points", "box"],
)
def test_the_server_masks_what_the_predictor_masks(server, prompt):
    predictor = checkpoints.library().SamPredictor(checkpoints.random("tiny", OPTIONS.seed).model)
    predictor.set_image(PICTURE)
    arrays = {key: np.array(value) if isinstance(value, list) else value for key, value in prompt.items()}
    masks, iou, _ = predictor.predict(**arrays)
    answer = ask(server, with_image(**prompt)).json()
    assert np.array(answer["masks"]).shape == masks.shape
    assert (np.array(answer["masks"]) == masks).mean() > 0.98  # DALI resizes a little differently than Pillow
    np.testing.assert_allclose(answer["iou"], iou, atol=0.02)


def test_nothing_said_means_the_centre(server):
    centre = ask(server, with_image(points=[[WIDTH / 2, HEIGHT / 2]], point_labels=[1]))
    nothing = ask(server, with_image())
    assert nothing.json() == centre.json()
    best = int(np.argmax(nothing.json()["iou"]))
    assert ask(server, encoded(PICTURE), PNG).json() == nothing.json()["masks"][best]


def test_an_answer_s_logits_are_a_prompt(server):
    first = ask(server, with_image(box=[50, 48, 120, 90], multimask_output=False, return_low_res=True)).json()
    again = ask(server, with_image(mask_input=first["low_res"], multimask_output=False))
    assert again.status_code == 200
    assert np.array(again.json()["masks"]).shape == (1, HEIGHT, WIDTH)


# --- the cache --------------------------------------------------------------------------------------------------------


def test_further_prompts_on_a_picture_do_not_run_the_encoder(server):
    unseen = base64.b64encode(encoded(picture(seed=99))).decode()
    before = cached(server)
    for x in (10, 20, 30):
        assert ask(server, {"image": unseen, "points": [[x, 10]], "point_labels": [1]}).status_code == 200
    after = cached(server)
    assert (after["misses"] - before["misses"], after["hits"] - before["hits"]) == (1, 2)
    page = requests.get(f"{server.base_url}/metrics", timeout=10).text
    assert f"roundhouse_response_cache_hits {after['hits']:.1f}" in page


# --- clients ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def runtime(server):
    made = boto3.client(
        "sagemaker-runtime",
        endpoint_url=server.base_url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1, "mode": "legacy"}),
    )
    yield made
    made.close()


def test_boto3_gets_a_png(runtime):
    answer = runtime.invoke_endpoint(
        EndpointName="any", TargetModel="sam", Body=encoded(PICTURE, "JPEG"), ContentType="image/jpeg", Accept=PNG
    )
    with Image.open(io.BytesIO(answer["Body"].read())) as mask:
        assert (mask.size, set(np.unique(np.asarray(mask.convert("L"))))) == ((WIDTH, HEIGHT), {0, 255})


@pytest.mark.filterwarnings("ignore")  # the SDK warns of itself, of its own dependencies, and of its next version
def test_the_walk_through_s_predictor_gets_a_mask(runtime):
    """`PyTorchPredictor` sends an array as npy and reads JSON."""
    from sagemaker.pytorch import PyTorchPredictor
    from sagemaker.session import Session

    session = Session(
        boto3.Session(region_name="us-east-1"), sagemaker_client=object(), sagemaker_runtime_client=runtime
    )
    mask = np.array(PyTorchPredictor("any", session).predict(PICTURE, target_model="sam"))
    assert (mask.shape, set(np.unique(mask)) <= {0, 1}) == ((HEIGHT, WIDTH), True)


def test_tritonclient_gets_tensors(server):
    with triton_http.InferenceServerClient(server.base_url.removeprefix("http://")) as client:
        image = np.frombuffer(encoded(PICTURE), np.uint8)
        box = np.array([50, 48, 120, 90], np.float32)
        inputs = [
            triton_http.InferInput("IMAGE", image.shape, "UINT8").set_data_from_numpy(image),
            triton_http.InferInput("BOX", box.shape, "FP32").set_data_from_numpy(box),
        ]
        result = client.infer("sam", inputs)
    assert result.as_numpy("MASKS").tolist() == ask(server, with_image(box=box.tolist())).json()["masks"]
    assert result.as_numpy("LOW_RES").shape == (3, 256, 256)


# --- hostile ----------------------------------------------------------------------------------------------------------

NAN = float("nan")
REFUSED = [
    (b"", PNG, "empty"),
    (encoded(PICTURE, "JPEG")[:700], "image/jpeg", "does not decode"),
    (b"\xff\xd8\xff\xe0 rubbish", "image/jpeg", "image"),
    (b"P6\n20000 20000\n255\n", "image/x-portable-anymap", "pixels"),
    (with_image(box=[NAN, 0, 10, 10]), JSON, "not finite"),
    (with_image(box=[500, 500, 600, 600]), JSON, "outside the image of 128x96"),
    (with_image(box=[10, 10, 5, 5]), JSON, "no inside"),
    (with_image(points=[[1, 1]], point_labels=[1, 1]), JSON, "2 labels for 1 points"),
    (with_image(points=[[1, 1]]), JSON, "POINT_LABELS"),
    (with_image(points=[[-1, 1]], point_labels=[1]), JSON, "outside"),
    (with_image(mask_input=[[0.5] * 128] * 128), JSON, "[256, 256]"),
    (with_image(points=[[1, 1]] * 1000, point_labels=[1] * 1000), JSON, "1 to 256"),
]


@pytest.mark.parametrize(("body", "content_type", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_meant_is_the_caller_s_fault_and_said_so(server, body, content_type, words):
    answer = ask(server, body, content_type)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]


def rotated():
    """A picture whose EXIF says that it lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(PICTURE, "JPEG", exif=exif.tobytes())


ODD = [
    (encoded(PICTURE, mode="L"), (HEIGHT, WIDTH)),
    (encoded(PICTURE, mode="RGBA"), (HEIGHT, WIDTH)),
    (encoded(PICTURE, "JPEG", mode="CMYK"), (HEIGHT, WIDTH)),
    (encoded(PICTURE[:, :, 0].astype(np.uint16) * 257), (HEIGHT, WIDTH)),
    (rotated(), (WIDTH, HEIGHT)),
    (encoded(PICTURE[:1, :5]), (1, 5)),
]


@pytest.mark.parametrize(("body", "shape"), ODD, ids=["grey", "alpha", "CMYK", "16 bits", "rotated", "5 pixels"])
def test_pictures_of_every_kind_are_masked_as_they_are_shown(server, body, shape):
    answer = ask(server, body, "image/png", NPY)
    assert answer.status_code == 200, answer.text
    assert np.load(io.BytesIO(answer.content)).shape == shape
