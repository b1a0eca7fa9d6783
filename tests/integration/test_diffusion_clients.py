"""Stable Diffusion as its users call it: boto3, the SageMaker SDK, tritonclient, a form, and a stream of progress."""

import base64
import io
import json
import warnings

import numpy as np
import pytest
import requests
import tritonclient.http as triton_http
from PIL import Image

from tests.contract.runtime_client import runtime_client
from tests.fakes import diffusion
from tests.fakes.diffusion import mask, picture
from tests.integration.live_server import live_server

pytestmark = [pytest.mark.builders, pytest.mark.xdist_group("generative")]

TARGET = "stable-diffusion"
WISH = {"inputs": "a harbour at sunset", "parameters": {"num_inference_steps": 3, "seed": 5}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diffusion-server")
    with live_server(
        folder, "--store", diffusion.built().parent, "--engine", "embedded", "--default-model", TARGET
    ) as live:
        yield live


@pytest.fixture
def runtime(server):
    with runtime_client(server.base_url) as client:
        yield client


def ask(server, accept="", **sent):
    headers = {"x-amzn-sagemaker-target-model": TARGET, **({"accept": accept} if accept else {})}
    return requests.post(f"{server.base_url}/invocations", headers=headers, timeout=60, **sent)


def pixels(body):
    return np.asarray(Image.open(io.BytesIO(body)))


def wished(server, **parameters):
    """The picture of WISH with other parameters, as PNG."""
    answer = ask(server, "image/png", json={**WISH, "parameters": {**WISH["parameters"], **parameters}})
    assert answer.status_code == 200, answer.text
    return pixels(answer.content)


def test_boto3_gets_json_with_pictures_and_the_seed(server, runtime):
    answer = runtime.invoke_endpoint(
        EndpointName="any", TargetModel=TARGET, ContentType="application/json", Body=json.dumps(WISH)
    )
    told = json.loads(answer["Body"].read())
    assert told["parameters"] == {"num_inference_steps": 3, "seed": 5}
    np.testing.assert_array_equal(pixels(base64.b64decode(told["images"][0])), wished(server))


def test_boto3_reads_progress_as_events_and_then_the_picture(server, runtime):
    answer = runtime.invoke_endpoint_with_response_stream(
        EndpointName="any",
        ContentType="application/json",
        Accept="image/png",
        Body=json.dumps({**WISH, "parameters": {**WISH["parameters"], "scheduler": "euler", "preview_every": 3}}),
    )
    parts = [event["PayloadPart"]["Bytes"] for event in answer["Body"]]
    lines = [json.loads(part) for part in parts[:3]]
    assert [line["progress"] for line in lines] == [{"step": step, "total": 3} for step in (1, 2, 3)]
    assert pixels(base64.b64decode(lines[2]["preview"])).shape == (8, 8, 3)
    np.testing.assert_array_equal(pixels(b"".join(parts[3:])), wished(server, scheduler="euler"))


@pytest.mark.filterwarnings("ignore")
def test_predictors_of_the_sagemaker_sdk(server, runtime):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import boto3
        from sagemaker import Session
        from sagemaker.deserializers import JSONDeserializer, NumpyDeserializer
        from sagemaker.predictor import Predictor
        from sagemaker.serializers import JSONSerializer
    session = Session(
        boto_session=boto3.Session("any", "any", region_name="us-east-1"),
        sagemaker_client=object(),
        sagemaker_runtime_client=runtime,
    )
    flat = {"prompt": WISH["inputs"], **WISH["parameters"]}
    predictor = Predictor("any", session, JSONSerializer(), JSONDeserializer())
    told = predictor.predict(flat, target_model=TARGET)
    predictor = Predictor("any", session, JSONSerializer(), NumpyDeserializer())
    (array,) = predictor.predict(flat, target_model=TARGET)
    np.testing.assert_array_equal(pixels(base64.b64decode(told["images"][0])), array)
    np.testing.assert_array_equal(array, wished(server))


def test_tritonclient_sends_tensors(server):
    inputs = [triton_http.InferInput("PROMPT", [1], "BYTES"), triton_http.InferInput("STEPS", [1], "INT32")]
    inputs[0].set_data_from_numpy(np.array([WISH["inputs"].encode()], dtype=np.object_))
    inputs[1].set_data_from_numpy(np.array([3], np.int32))
    inputs.append(triton_http.InferInput("SEED", [1], "INT64"))
    inputs[2].set_data_from_numpy(np.array([5], np.int64))
    client = triton_http.InferenceServerClient(server.base_url.removeprefix("http://"))
    try:
        answer = client.infer(TARGET, inputs)
        np.testing.assert_array_equal(answer.as_numpy("IMAGES")[0], wished(server))
        assert answer.as_numpy("SEEDS").tolist() == [5]
    finally:
        client.close()


def test_a_form_with_pictures_fills_the_mask(server):
    files = {name: (f"{name}.png", png(array)) for name, array in (("image", picture()), ("mask", mask()))}
    answer = ask(server, "image/png", data={"prompt": "a boat", "steps": "3", "seed": "1"}, files=files)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-roundhouse-seed"] == "1"
    listed = {"image": picture().tolist(), "mask": mask().tolist(), "prompt": "a boat", "steps": 3, "seed": 1}
    np.testing.assert_array_equal(pixels(answer.content), pixels(ask(server, "image/png", json=listed).content))


def png(array):
    body = io.BytesIO()
    Image.fromarray(array).save(body, "PNG")
    return body.getvalue()


@pytest.mark.parametrize(
    ("parameters", "status", "message"),
    [
        ({"num_inference_steps": -4}, 400, "STEPS must be from 1 to 60, got -4"),
        ({"height": 4096, "width": 4096}, 400, "more than this model paints"),
        ({"guidance_scale": float("nan")}, 400, "GUIDANCE must be a number"),
        ({"scheduler": "magic"}, 400, "choose one of ddim, pndm, euler, dpm"),
        ({"num_images": 2}, 406, "holds one image, and there are 2"),
        ({"image": "bm90IGFuIGltYWdl"}, 400, "'image': the body cannot be read as an image"),
    ],
)
def test_wishes_that_cannot_be_are_refused_with_their_reason(server, parameters, status, message):
    body = json.dumps({**WISH, "parameters": {**WISH["parameters"], **parameters}})
    answer = ask(server, "image/png", data=body)
    assert (answer.status_code, message in answer.text) == (status, True), answer.text
