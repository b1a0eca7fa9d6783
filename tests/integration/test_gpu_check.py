"""The GPU check in dry run: two CPU servers, one with FP32 archives and one with their FP16 forms."""

import json
import os
import subprocess
import sys

import pytest

from builders.export.half import half
from tests.fakes.repositories import onnx_linear
from tests.integration.live_server import ROOT, live_server

SIZES = {"features": 16, "outputs": 8}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """`good` is FP16 on the subject's side, `bad` has other weights there, `broken` does not load there."""
    root = tmp_path_factory.mktemp("gpu-check")
    for name in ("good", "bad", "broken", "only-reference"):
        onnx_linear(root / "reference" / name / "linear", seed=1, **SIZES)
    plain = onnx_linear(root / "plain" / "linear", seed=1, **SIZES) / "1" / "model.onnx"
    half(plain, onnx_linear(root / "subject" / "good" / "linear", seed=1, **SIZES) / "1" / "model.onnx")
    onnx_linear(root / "subject" / "bad" / "linear", seed=2, **SIZES)
    (onnx_linear(root / "subject" / "broken" / "linear", seed=1, **SIZES) / "1" / "model.onnx").write_bytes(b"no graph")
    return root


def check(stores, report, *flags):
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--store", stores / "subject"]
    command += ["--reference-store", stores / "reference", "--subject-flags", "--engine embedded"]
    command += ["--seconds", "0.2", "--patience", "30", "--report", report, *flags]
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("ROUNDHOUSE_", "SAGEMAKER_"))
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=inherited)
    assert report.with_suffix(".json").is_file(), done.stderr
    return done, json.loads(report.with_suffix(".json").read_text()), report.with_suffix(".md").read_text()


def test_everything_that_both_stores_have_is_compared(stores, tmp_path):
    done, result, text = check(stores, tmp_path / "reports" / "gpu")
    assert done.returncode == 1
    assert sorted(result["archives"]) == ["bad", "broken", "good"]
    assert [name for name, row in result["archives"].items() if row["is_fine"]] == ["good"]
    good, bad, broken = (result["archives"][name] for name in ("good", "bad", "broken"))
    (output,) = good["outputs"].values()
    assert 0 < output["relative"] < 2e-3
    assert set(good["speed"]) == {"1", "8"}
    assert good["speed"]["1"]["subject"]["requests_per_s"] > 0
    assert "cosine" in next(iter(bad["outputs"].values()))["problem"]
    assert broken["failure"].startswith("subject: POST /v2/models/broken/infer: ")
    assert "**NOT FINE: see below.**" in text
    assert result["servers"]["subject"]["kind"] == "embedded"
    assert {"cpu", "cores", "packages", "gpus"} <= set(result["environment"])
    assert (tmp_path / "reports" / "subject.log").is_file()


def test_a_subject_that_runs_already_and_is_fine_leaves_with_0(stores, tmp_path):
    """As with `docker/gpu_check.sh`, where the subject runs in a container."""
    with live_server(tmp_path / "subject", "--store", stores / "subject", "--engine", "embedded") as server:
        done, result, text = check(
            stores, tmp_path / "there", "--archive", "good", "--subject-address", f"127.0.0.1:{server.port}"
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert result["servers"]["subject"]["flags"] == [f"127.0.0.1:{server.port}"]
    assert (list(result["archives"]), result["is_fine"]) == (["good"], True)
    assert done.stdout.startswith("# GPU check")
    assert "Every archive answers as its reference does." in text
