"""All model families on one server whose memory holds only two of the large ones; and the pipeline shares its parts."""

import json
import random
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.integration.live_server import live_server

ROOT = Path(__file__).resolve().parents[2]
ARCHIVES = ROOT / "model_repository" / "archives"
PHOTOS = ROOT / "model_repository" / "photos"
REQUESTS, CLIENTS = 60, 4

pytestmark = [pytest.mark.builders, pytest.mark.slow]


def json_request(document):
    return json.dumps(document).encode(), "application/json"


def families():
    """One small request for each family: {archive: (body, Content-Type)}."""
    coffee = (PHOTOS / "coffee.png").read_bytes()
    advert = {
        "image": [[[200, 40 * (row % 6), column] for column in range(64)] for row in range(64)],
        "mask": [[255 * (16 <= row < 48 and 16 <= column < 48) for column in range(64)] for row in range(64)],
        "prompt_fr": "a cup",
        "prompt_bg": "a beach",
        "num_inference_steps": 2,
        "seed": 1,
    }
    labels = {"candidate_labels": ["sports", "finance"]}
    return {
        "minilm.tar.gz": json_request({"inputs": "a sentence"}),
        "photo.tar.gz": (coffee, "image/png"),
        "zero-shot-tiny.tar.gz": json_request({"inputs": "a goal", "parameters": labels}),
        "text-classification-tiny.tar.gz": json_request({"inputs": "it came late"}),
        "segment-anything-tiny.tar.gz": json_request({"image": b64encode(coffee).decode(), "box": [100, 60, 500, 350]}),
        "stable-diffusion-tiny.tar.gz": json_request({"prompt": "a cat", "num_inference_steps": 2, "seed": 1}),
        "creative-advertising-tiny.tar.gz": json_request(advert),
    }


def ask(server, archive, body, content_type):
    headers = {"X-Amzn-SageMaker-Target-Model": archive, "Content-Type": content_type}
    return requests.post(f"{server.base_url}/invocations", data=body, headers=headers, timeout=120)


def residency(server):
    return requests.get(f"{server.base_url}/admin/residency", timeout=10).json()


def bytes_of(server):
    return {resident["archive"]: resident["bytes"]["cpu"] for resident in residency(server)["residents"]}


@pytest.fixture(scope="module")
def roomy(tmp_path_factory):
    """A server with room for all, in which all are."""
    assert (ARCHIVES / "creative-advertising-tiny.tar.gz").is_file(), "the demo archives are missing: make archives"
    with live_server(tmp_path_factory.mktemp("roomy"), "--store", ARCHIVES, "--memory-budget", "4GiB") as running:
        yield running


@pytest.fixture(scope="module")
def answers(roomy):
    """Each family's answer, from a server with room for all."""
    found = {archive: ask(roomy, archive, *request) for archive, request in families().items()}
    assert dict.fromkeys(found, 200) == {archive: answer.status_code for archive, answer in found.items()}
    return {archive: answer.content for archive, answer in found.items()}


def test_the_pipeline_shares_the_steps_of_its_parts(roomy, answers):
    steps = {resident["archive"]: resident["steps"] for resident in residency(roomy)["residents"]}
    digests = {archive: {step["digest"] for step in each} for archive, each in steps.items()}
    pipeline = digests["creative-advertising-tiny.tar.gz"]
    parts = digests["segment-anything-tiny.tar.gz"] | digests["stable-diffusion-tiny.tar.gz"]
    assert parts < pipeline
    assert len(pipeline - parts) == 1  # its own entry step
    charged = residency(roomy)["devices"]["cpu"]["charged_bytes"]
    alone = bytes_of(roomy)
    shared = alone["segment-anything-tiny.tar.gz"] + alone["stable-diffusion-tiny.tar.gz"]
    assert charged <= sum(alone.values()) - shared  # charged once


def test_all_are_served_from_room_for_two_of_the_large_ones(roomy, answers, tmp_path):
    largest = sorted((bytes_of(roomy)[archive] for archive in answers), reverse=True)
    budget = int(1.05 * (largest[0] + largest[1]))
    assert budget < residency(roomy)["devices"]["cpu"]["charged_bytes"]
    drawn = random.Random(3)
    wanted = [drawn.choice(sorted(answers)) for _ in range(REQUESTS)] + sorted(answers)
    sent = families()
    with (
        live_server(tmp_path, "--store", ARCHIVES, "--memory-budget", str(budget)) as server,
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        got = list(clients.map(lambda archive: ask(server, archive, *sent[archive]), wanted))
        state = residency(server)
    assert [200] * len(wanted) == [answer.status_code for answer in got]
    assert all(answers[archive] == answer.content for archive, answer in zip(wanted, got, strict=True))
    assert state["devices"]["cpu"]["charged_bytes"] <= budget
    assert state["evictions"]
