"""The GPU image cannot be built here; its recipe is read instead, line by line."""

import json
import re
from pathlib import Path

import pytest

from tests.unit.docker.dockerfile import parse

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "Dockerfile.gpu").read_text()
LABELS = (
    "com.amazonaws.sagemaker.capabilities.multi-models",
    "com.amazonaws.sagemaker.capabilities.accept-bind-to-port",
)


@pytest.fixture(scope="module")
def recipe():
    return parse(TEXT)


def test_only_known_instructions_are_used(recipe):
    known = {"ARG", "RUN", "COPY", "LABEL", "USER", "WORKDIR", "ENV", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert {name for stage in recipe.stages for name, _ in stage.instructions} <= known


def test_the_base_is_one_pinned_release(recipe):
    names = {stage.name for stage in recipe.stages}
    bases = {stage.base for stage in recipe.stages} - names
    assert bases == {"nvcr.io/nvidia/tritonserver:${TRITON_RELEASE}-py3"}
    assert re.fullmatch(r"\d\d\.\d\d", recipe.arguments["TRITON_RELEASE"])


def test_what_runs_is_not_what_built(recipe):
    lineage = recipe.lineage(recipe.stages[-1])
    assert [stage.name for stage in lineage] == ["runtime", ""]
    assert not any("apt-get" in run for run in recipe.effective("RUN"))
    assert any(copy.startswith("--from=libraries ") for copy in recipe.effective("COPY"))


def test_sagemaker_finds_its_labels(recipe):
    assert recipe.effective("LABEL") == [f"{label}=true" for label in LABELS]


@pytest.mark.parametrize("stage", ["compile", ""])
def test_it_runs_as_nobody_special(recipe, stage):
    found = next(each for each in recipe.stages if each.name == stage)
    users = [user for each in recipe.lineage(found) for user in each.all("USER")]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]), "a number, so that Kubernetes' runAsNonRoot can see it"


def test_the_server_is_process_one_and_serve_is_the_default(recipe):
    assert json.loads(recipe.effective("ENTRYPOINT")[-1]) == ["/opt/roundhouse/serve.sh"]
    assert json.loads(recipe.effective("CMD")[-1]) == ["serve"]
    (health,) = recipe.effective("HEALTHCHECK")
    assert json.loads(health.partition(" CMD ")[2]) == ["/opt/roundhouse/health.sh"]
    assert recipe.effective("EXPOSE") == ["8080"]


def test_what_is_copied_is_there_and_in_the_build_context(recipe):
    ignored = (ROOT / "Dockerfile.gpu.dockerignore").read_text().splitlines()
    for stage in recipe.stages:
        for copy in stage.all("COPY"):
            words = copy.split()
            if any(word.startswith("--from=") for word in words):
                continue
            for source in [word for word in words if not word.startswith("--")][:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source.split('/', maxsplit=1)[0]}" in ignored, source


def test_nothing_comes_from_urls_or_floating_tags(recipe):
    assert not re.search(r"^\s*ADD\b", TEXT, re.MULTILINE)
    assert not re.search(r":latest|curl |wget |\| *sh\b", TEXT)
    assert not re.search(r"^ENV.*(SECRET|TOKEN|PASSWORD)", TEXT, re.MULTILINE)
    for run in [run for stage in recipe.stages for run in stage.all("RUN")]:
        assert "pip install" not in run or "--no-cache-dir" in run
        assert "apt-get install" not in run or "rm -rf /var/lib/apt/lists" in run


def test_python_steps_find_their_libraries_in_the_containers_python(recipe):
    (install,) = [run for run in recipe.effective("RUN") if "tokenizers" in run]
    assert install.startswith("python3 -m pip")
    assert 'python3 -c "import numpy, tokenizers"' in install
    wanted = re.search(r'"(tokenizers[^"]*)"', (ROOT / "pyproject.toml").read_text())[1]
    assert f'"{wanted}"' in install, "the steps must tokenise as the builders' checks did"


def test_the_variables_are_settings(recipe):
    from server.settings.model import Settings

    (environment,) = recipe.effective("ENV")
    names = re.findall(r"ROUNDHOUSE_(\w+)=", environment)
    assert {name.lower() for name in names} <= set(Settings.model_fields)
    assert "engine" in {name.lower() for name in names}


def test_the_engine_cache_is_where_configs_say(recipe):
    from builders.triton_config.accelerated import ENGINE_CACHE

    assert any(f" {ENGINE_CACHE} " in f"{run} " for run in recipe.effective("RUN") if "install --directory" in run)
