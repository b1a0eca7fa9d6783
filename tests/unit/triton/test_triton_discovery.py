"""Where a Triton is looked for."""

import sys
from pathlib import Path

import pytest

from server.engines.triton.process.discovery import TritonMissing, discover
from server.engines.triton.process.runtime_folder import RuntimeFolder
from server.engines.triton.repository import backend_folder

STUB = f"{sys.version_info.major}.{sys.version_info.minor}"


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def wheel(folder, stub=STUB):
    server = folder / "pytriton/tritonserver"
    touch(server / "bin/tritonserver")
    touch(server / "backends/python/libtriton_python.so")
    touch(server / f"python_backend_stubs/{stub}/triton_python_backend_stub")
    return folder


def container(folder, *backends):
    touch(folder / "bin/tritonserver")
    (folder / "backends").mkdir(exist_ok=True)
    for name in backends:
        touch(folder / "backends" / name / f"libtriton_{name}.so")
    return folder


def test_a_folder_that_was_named_comes_first(tmp_path):
    found = discover(container(tmp_path / "mine"), {}, tmp_path)
    assert (found.kind, found.server) == ("container", tmp_path / "mine/bin/tritonserver")


def test_the_wheel_brings_its_search_paths(tmp_path):
    found = discover(None, {"ROUNDHOUSE_TRITON": str(wheel(tmp_path / "w"))}, tmp_path)
    environment = found.environment({"PATH": "/bin", "HOME": "/h"})
    assert found.kind == "wheel"
    assert environment["PATH"] == f"{Path(sys.executable).parent}:/bin"
    assert environment["LD_LIBRARY_PATH"].startswith(f"{tmp_path}/w/nvidia_pytriton.libs:")
    assert environment["HOME"] == "/h"


def test_the_default_folder_then_the_path(tmp_path):
    on_path = container(tmp_path / "elsewhere")
    environment = {"PATH": str(on_path / "bin")}
    assert discover(None, environment, tmp_path).server == on_path / "bin/tritonserver"
    wheel(tmp_path / ".triton")
    assert discover(None, environment, tmp_path).kind == "wheel"


@pytest.mark.parametrize("root", ["nothing", None])
def test_none_at_all_says_how_to_get_one(tmp_path, root):
    with pytest.raises(TritonMissing, match="make triton"):
        discover(tmp_path / root if root else None, {}, tmp_path)


def test_a_wheel_for_other_pythons_says_so(tmp_path):
    with pytest.raises(TritonMissing, match=r"2\.7"):
        discover(wheel(tmp_path, stub="2.7"), {}, tmp_path)


def test_a_wheel_gets_our_backends_beside_real_copies_of_its_own(tmp_path):
    found = discover(wheel(tmp_path / "w"), {}, tmp_path)
    folder = backend_folder.build(found, tmp_path / "backends")
    assert (folder / "onnxruntime/model.py").is_file()
    assert sorted(file.name for file in (folder / "dali").iterdir()) == [
        "dali_pipeline.py",  # what both engines run: the stub cannot import it from the server
        "image_header.py",
        "model.py",
    ]
    assert (folder / "python/triton_python_backend_stub").is_file()
    assert not (folder / "python/libtriton_python.so").is_symlink()


def test_native_backends_are_never_replaced(tmp_path):
    found = discover(container(tmp_path / "c", "python", "onnxruntime", "dali"), {}, tmp_path)
    assert backend_folder.missing_backends(found) == []
    assert backend_folder.build(found, tmp_path / "unused") == tmp_path / "c/backends"
    assert not (tmp_path / "unused").exists()


def test_what_a_killed_process_left_is_swept_and_what_lives_is_kept(tmp_path):
    living = RuntimeFolder(tmp_path)
    dead = tmp_path / "triton-dead"
    touch(dead / "lock")
    (dead / "run-1").mkdir()
    another = RuntimeFolder(tmp_path)
    assert not dead.exists()
    assert living.path.is_dir()
    for folder in (living, another):
        folder.close()
        folder.close()
    assert list(tmp_path.iterdir()) == []
