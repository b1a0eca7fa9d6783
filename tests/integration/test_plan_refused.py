"""A TensorRT plan on a host without its GPU: both engines refuse it, and say what to do."""

import pytest
import requests

from builders.compile.gpu import Gpu
from builders.compile.repack import recompile
from builders.compile.tensorrt_plan import PlanOptions, build_plan
from builders.triton_config import accelerated
from builders.triton_config import model as triton
from builders.triton_config.profile import as_facts, profile_of
from server.archive.manifest import Manifest, write_manifest
from tests.fakes.repositories import onnx_linear
from tests.fakes.tensorrt_11 import FakeTensorRT
from tests.integration.live_server import live_server

REQUEST = {"inputs": [{"name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One archive, `linear`, whose plan was compiled on an L4."""
    root = tmp_path_factory.mktemp("plans")
    inputs = [triton.Field("INPUT0", "TYPE_FP32", (4,))]
    profile = profile_of(inputs, 8, {})
    onnx_linear(root / "graph" / "linear", features=4, outputs=2)
    config = accelerated.graph_config(
        name="linear",
        inputs=inputs,
        outputs=[triton.Field("OUTPUT0", "TYPE_FP32", (2,))],
        max_batch_size=8,
        where=accelerated.placement("gpu"),
        profile=profile,
        cache_key="",
    )
    (root / "graph" / "linear" / "config.pbtxt").write_text(triton.text(config))
    write_manifest(Manifest(entry_model="linear", steps={"linear": {"profile": as_facts(profile)}}), root / "graph")

    def compile_graph(graph, to, shapes, options):
        return build_plan(graph, to, shapes, options, trt=FakeTensorRT(), gpu=Gpu("NVIDIA L4", "8.9"))

    recompile(root / "graph", root / "store" / "linear", PlanOptions(), compile_graph)
    return root / "store"


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("embedded", "TensorRT plans run on the Triton engine, on a GPU"),
        pytest.param(
            "triton",
            "is a TensorRT plan for a NVIDIA L4, and this host has no GPU; compile it",
            marks=pytest.mark.triton,
        ),
    ],
)
def test_the_refusal_says_what_to_do(store, tmp_path, engine, reason):
    with live_server(tmp_path, "--store", store, "--engine", engine) as server:
        metadata = requests.get(f"{server.base_url}/v2/models/linear", timeout=30)
        answer = requests.post(f"{server.base_url}/v2/models/linear/infer", json=REQUEST, timeout=60)
    assert metadata.json()["platform"] == "tensorrt_plan"
    assert reason in answer.text
    assert 400 <= answer.status_code < 500
