"""The image's entry point, run as a script in a folder of its own: with a stub in the server's place, and with the server."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.until import until

ROOT = Path(__file__).resolve().parents[2]
SERVE, HEALTH = ROOT / "docker" / "serve.sh", ROOT / "docker" / "health.sh"
GPU_CHECK = ROOT / "docker" / "gpu_check.sh"
STUB = """#!/bin/sh
echo "pid $$"
echo "arguments $*"
echo "multi ${SAGEMAKER_MULTI_MODEL-unset} port ${SAGEMAKER_BIND_TO_PORT-unset}"
trap 'echo terminated; exit 7' TERM
[ -z "${STAY-}" ] || while :; do sleep 0.05; done
"""
PASSING_ON = """#!/bin/sh
echo "driver checked"
exec "$@"
"""


@pytest.fixture
def place(tmp_path):
    """A PATH whose `roundhouse` is the stub."""
    folder = tmp_path / "bin"
    folder.mkdir()
    write(folder / "roundhouse", STUB)
    return folder


def write(file, text):
    file.write_text(text)
    file.chmod(0o755)
    return file


def environment(place, **more):
    return {"PATH": f"{place}:/usr/bin:/bin", "NVIDIA_ENTRYPOINT": str(place / "absent"), **more}


def run(place, *arguments, **more):
    done = subprocess.run(
        [SERVE, *arguments], capture_output=True, text=True, env=environment(place, **more), check=True, cwd=place
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("given", "called"),
    [
        ([], "serve"),
        (["serve"], "serve"),
        (["serve", "--store", "/archives"], "serve --store /archives"),
        (["--store", "s3://bucket/a b"], "serve --store s3://bucket/a b"),
        (["--help"], "serve --help"),
        (["build", "plans", "x.tar.gz"], "build plans x.tar.gz"),
        (["archive", "inspect", "x"], "archive inspect x"),
    ],
)
def test_arguments_are_sagemakers_or_roundhouses(place, given, called):
    assert run(place, *given)[1] == f"arguments {called}"


def test_sagemakers_variables_reach_the_server(place):
    said = run(place, "serve", SAGEMAKER_MULTI_MODEL="true", SAGEMAKER_BIND_TO_PORT="9000")
    assert said[2] == "multi true port 9000"


def test_nvidias_entry_point_comes_first_where_it_is(place):
    nvidia = write(place / "nvidia.sh", PASSING_ON)
    said = run(place, "serve", NVIDIA_ENTRYPOINT=str(nvidia))
    assert (said[0], said[2]) == ("driver checked", "arguments serve")


@pytest.mark.parametrize("nvidia", ["absent", "nvidia.sh"])
def test_the_server_takes_the_place_of_the_script_and_gets_sigterm(place, tmp_path, nvidia):
    write(place / "nvidia.sh", PASSING_ON)
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [SERVE, "serve"], stdout=output, env=environment(place, STAY="1", NVIDIA_ENTRYPOINT=str(place / nvidia))
        )
    try:
        until(lambda: "multi" in log.read_text(), 20, "the stub's lines")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 7
    finally:
        process.kill()
        process.wait()
    assert f"pid {process.pid}\n" in log.read_text()
    assert log.read_text().endswith("terminated\n")


def test_the_real_server_serves_as_sagemaker_starts_it(tmp_path):
    """`serve` with SageMaker's variables for a multi-model endpoint: the port, the health check, the end."""
    log = tmp_path / "log"
    variables = {
        **environment(tmp_path, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}"),
        "SAGEMAKER_MULTI_MODEL": "true",
        "SAGEMAKER_BIND_TO_PORT": "0",
        "ROUNDHOUSE_ENGINE": "embedded",
        "ROUNDHOUSE_CACHE_DIR": str(tmp_path / "cache"),
        "ROUNDHOUSE_HOST": "127.0.0.1",
    }
    with log.open("wb") as output:
        process = subprocess.Popen([SERVE, "serve"], stdout=output, stderr=output, env=variables, cwd=tmp_path)
    try:
        ready = until(lambda: re.search(r"ready on http://\S+?:(\d+)", log.read_text()), 60, "the ready line")
        port = ready[1]
        healthy = subprocess.run([HEALTH], env={**variables, "SAGEMAKER_BIND_TO_PORT": port}, check=False)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        ended = subprocess.run([HEALTH], env={**variables, "SAGEMAKER_BIND_TO_PORT": port}, check=False)
    finally:
        process.kill()
        process.wait()
    assert (healthy.returncode, ended.returncode) == (0, 1)


@pytest.mark.parametrize("verdict", [0, 1])
def test_the_gpu_check_serves_from_the_image_and_removes_the_container(place, tmp_path, verdict):
    """With stubs for Docker and Python: in which order things happen, and what is left behind."""
    calls = tmp_path / "calls"
    write(place / "docker", f'#!/bin/sh\necho "docker $*" >> {calls}\n[ "$1" != run ] || echo c0ffee\n')
    write(place / "python", f'#!/bin/sh\necho "python $*" >> {calls}\nexit {verdict}\n')
    (tmp_path / "gpu").mkdir()
    variables = {**environment(place), "PYTHON": "python"}
    command = [GPU_CHECK, "gpu", "cpu", "--seconds", "1"]
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == verdict, done.stderr
    said = calls.read_text().splitlines()
    assert [line.split()[:2] for line in said] == [
        ["docker", "build"],
        ["docker", "run"],
        ["python", "-m"],
        ["docker", "logs"],
        ["docker", "rm"],
    ]
    assert f"--volume {tmp_path / 'gpu'}:/archives:ro" in said[1]
    assert said[1].count("serve --store /archives") == 1
    assert said[2].endswith(
        f"--store {tmp_path / 'gpu'} --reference-store cpu --subject-address 127.0.0.1:18080 --seconds 1"
    )
    assert said[4] == "docker rm --force c0ffee"


@pytest.mark.parametrize("script", [SERVE, HEALTH, GPU_CHECK], ids=lambda path: path.name)
def test_scripts_are_plain_posix_shell(script):
    text = script.read_text()
    assert text.startswith("#!/bin/sh\n")
    assert "set -eu\n" in text
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True)
    assert not re.search(r"\[\[|\bfunction\b|\bsource\b|`", re.sub(r"#.*", "", text)), "bash only"
    unquoted = re.findall(r'(?<!["\w=:{/-])\$(?!\()[\w@*]+(?!["\w:/])', re.sub(r'#.*|"[^"]*"', "", text))
    assert unquoted == [], "expansions stand in quotes"
    if script != GPU_CHECK:
        assert re.search(r"^\s*exec ", text, re.MULTILINE)
