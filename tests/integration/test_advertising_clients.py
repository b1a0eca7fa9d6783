"""The advertising pipeline as the walk-through's clients call it: the SageMaker SDK with arrays, boto3 with a form."""

import base64
import io
import warnings

import numpy as np
import pytest
import requests
from PIL import Image

from tests.contract.runtime_client import runtime_client
from tests.fakes.advertising import NAME, advertising_archive
from tests.fakes.sam_archive import encoded, picture
from tests.integration.live_server import live_server

pytestmark = [pytest.mark.builders, pytest.mark.xdist_group("generative")]

PHOTO = picture(80, 64)
MASK = np.zeros((80, 64), np.uint8)
MASK[20:60, 16:48] = 255
PROMPTS = {
    "prompt_fr": "a cup",
    "prompt_bg": "a beach",
    "negative_prompt": "blurred",
    "num_inference_steps": 2,
    "seed": 3,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    store = advertising_archive().parent
    with live_server(tmp_path_factory.mktemp("advertising"), "--store", store, "--engine", "embedded") as running:
        yield running


def ask(server, accept="application/json", **sent):
    headers = {"x-amzn-sagemaker-target-model": NAME, "accept": accept}
    return requests.post(f"{server.base_url}/invocations", headers=headers, timeout=60, **sent)


def test_the_walk_through_with_sagemakers_predictor(server):
    with warnings.catch_warnings(), runtime_client(server.base_url) as runtime:
        warnings.simplefilter("ignore")
        import boto3
        from sagemaker.deserializers import JSONDeserializer
        from sagemaker.predictor import Predictor
        from sagemaker.serializers import JSONSerializer
        from sagemaker.session import Session

        session = Session(
            boto_session=boto3.Session(region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any"),
            sagemaker_runtime_client=runtime,
        )
        predictor = Predictor("ads", session, serializer=JSONSerializer(), deserializer=JSONDeserializer())
        told = predictor.predict({"image": PHOTO.tolist(), "mask": MASK.tolist(), **PROMPTS}, target_model=NAME)
    generated, background, mask, post_processed = map(np.array, told)
    assert generated.shape == background.shape == post_processed.shape == PHOTO.shape
    assert (mask == MASK).all()
    assert (post_processed[25:55, 20:44] == PHOTO[25:55, 20:44]).all()


def test_a_form_gets_the_picture(server):
    fields = {name: str(value) for name, value in PROMPTS.items()}
    answer = ask(server, "image/png", data=fields, files={"image": ("cup.png", encoded(PHOTO), "image/png")})
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as shown:
        assert shown.size == (64, 80)


def test_an_array_file_has_all_four(server):
    document = {"image": base64.b64encode(encoded(PHOTO)).decode(), "mask": MASK.tolist(), **PROMPTS}
    answer = ask(server, "application/x-npy", json=document)
    assert np.load(io.BytesIO(answer.content)).shape == (4, 80, 64, 3)


@pytest.mark.parametrize(
    "form", [{"mode": "L"}, {"mode": "CMYK", "form": "JPEG"}, {"mode": "RGBA"}, {"mode": "P"}], ids=str
)
def test_pictures_of_every_mode(server, form):
    answer = ask(server, "image/png", data={**PROMPTS}, files={"image": ("x", encoded(PHOTO, **form))})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"image": ""}, "image"),
        ({"image": base64.b64encode(encoded(PHOTO)[:200]).decode()}, "'image'"),
        ({"mask": MASK[:5].tolist()}, "MASK must have the size of IMAGE"),
        ({"mask": (MASK * 0).tolist()}, "no product was found"),
        ({"num_inference_steps": -3}, "STEPS"),
        ({"seed": 1.5}, "whole number"),
        ({"scheduler": "heun"}, "heun"),
        ({"prompt_bg": ""}, "prompt_bg"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_is_wrong_is_said(server, changed, told):
    document = {"image": base64.b64encode(encoded(PHOTO)).decode(), "mask": MASK.tolist(), **PROMPTS, **changed}
    answer = ask(server, json=document)
    assert answer.status_code == 400
    assert told in answer.json()["error"]


def test_the_types_that_are_read_are_listed(server):
    headers = {"x-amzn-sagemaker-target-model": NAME, "content-type": "text/csv"}
    answer = requests.post(f"{server.base_url}/invocations", data=b"a,b", headers=headers, timeout=10)
    assert answer.status_code == 415
    assert "multipart/form-data" in answer.json()["error"]
    assert ask(server, "text/html", json={"image": PHOTO.tolist(), **PROMPTS}).status_code == 406
