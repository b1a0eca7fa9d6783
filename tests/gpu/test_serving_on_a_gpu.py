"""Triton with its GPU backends under Roundhouse: each way of running a graph gives numpy's answer."""

import numpy as np
import pytest
import requests

from builders.compile.repack import recompile
from builders.compile.tensorrt_plan import PlanOptions
from tests.fakes.repositories import linear_weights
from tests.gpu import gpu_archives
from tests.integration.live_server import live_server

ROWS = np.random.default_rng(0).standard_normal((5, gpu_archives.FEATURES)).astype(np.float32)


def answer(folder, store, flags):
    request = {
        "inputs": [{"name": "INPUT0", "shape": list(ROWS.shape), "datatype": "FP32", "data": ROWS.reshape(-1).tolist()}]
    }
    flags = ("--store", store, "--request-timeout-s", "600", "--load-timeout-s", "600", *flags)
    with live_server(folder, *flags) as server:
        response = requests.post(f"{server.base_url}/v2/models/linear/infer", json=request, timeout=600)
        assert response.status_code == 200, response.text
        budgets = requests.get(f"{server.base_url}/admin/residency", timeout=30).text
    assert "gpu:0" in budgets
    return np.array(response.json()["outputs"][0]["data"], np.float32).reshape(len(ROWS), -1)


def expected():
    return ROWS @ linear_weights(gpu_archives.FEATURES, gpu_archives.OUTPUTS)


@pytest.mark.parametrize("accelerator", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_onnx_runtime_on_the_gpu(triton_flags, tmp_path, accelerator):
    gpu_archives.write(tmp_path / "store" / "linear", accelerator)
    # TF32 keeps 10 bits of a factor
    np.testing.assert_allclose(answer(tmp_path / "run", tmp_path / "store", triton_flags), expected(), atol=2e-2)


def test_a_plan_on_the_gpu(triton_flags, tensorrt, tmp_path):
    archive = gpu_archives.write(tmp_path / "graph", "tensorrt")
    recompile(archive, tmp_path / "store" / "linear", PlanOptions())
    np.testing.assert_allclose(answer(tmp_path / "run", tmp_path / "store", triton_flags), expected(), atol=2e-2)
