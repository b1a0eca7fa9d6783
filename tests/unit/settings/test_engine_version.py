"""What measured footprints are kept under: the engine, and what it is made of."""

import os

from server.settings.engine_version import engine_version


def test_the_embedded_engine_is_known_by_the_versions_of_its_runtimes():
    said = engine_version("embedded", None)
    assert said.startswith("embedded ")
    assert "onnxruntime" in said


def test_tritons_container_says_its_version():
    older = engine_version("triton", None, {"NVIDIA_TRITON_SERVER_VERSION": "24.09"})
    assert older == "triton 24.09"
    assert engine_version("triton", None, {"TRITON_SERVER_VERSION": "2.51.0"}) == "triton 2.51.0"


def test_another_program_in_the_folder_that_the_operator_named_is_another_triton(tmp_path):
    program = tmp_path / "bin" / "tritonserver"
    assert engine_version("triton", tmp_path, {}) == "triton"
    program.parent.mkdir()
    program.write_text("one")
    os.utime(program, ns=(1, 1))
    first = engine_version("triton", tmp_path, {})
    program.write_text("two")
    os.utime(program, ns=(2, 2))
    assert engine_version("triton", tmp_path, {}) != first
