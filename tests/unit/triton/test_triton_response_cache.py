"""Triton's own response cache: asked for on the command line where its library is, and taken out of configs elsewhere."""

from pathlib import Path

from server.archive.model_config import parse
from server.engines.triton.process.discovery import Installation
from server.engines.triton.process.flags import ServerFlags, parse_extra
from server.engines.triton.repository.config_rewrite import rewrite
from server.engines.triton.repository.staged import StagedRepository
from tests.fakes import repositories

CACHED = "response_cache { enable: true }"


def cache_flags(*extra, **changes):
    flags = ServerFlags(
        Path("/run/repository"), Path("/run/backends"), 8000, 8001, "x_", extra=parse_extra(extra), **changes
    )
    return [argument for argument in flags.argv() if argument.startswith("--cache")]


def test_with_a_folder_of_libraries_and_a_budget_there_is_a_cache():
    assert cache_flags(caches=Path("/t/caches"), response_cache_bytes=1024) == [
        "--cache-directory=/t/caches",
        "--cache-config=local,size=1024",
    ]


def test_without_either_there_is_none():
    assert cache_flags(caches=None, response_cache_bytes=1024) == []
    assert cache_flags(caches=Path("/t/caches"), response_cache_bytes=0) == []


def test_an_operator_s_own_cache_is_the_only_one():
    own = "--cache-config=redis,host=cache"
    assert cache_flags(own, caches=Path("/t/caches"), response_cache_bytes=1024) == [own]


def test_an_installation_knows_whether_it_has_the_library(tmp_path):
    installation = Installation("container", tmp_path / "bin/tritonserver", tmp_path / "backends")
    assert installation.caches is None
    library = tmp_path / "caches/local/libtritoncache_local.so"
    library.parent.mkdir(parents=True)
    library.touch()
    assert installation.caches == tmp_path / "caches"


def test_a_config_that_asks_for_a_cache_loads_without_one(tmp_path):
    (step,) = repositories.staged_steps(repositories.onnx_identity(tmp_path / "author" / "m", extra=CACHED).parent)
    for has_cache in (True, False):
        repository = StagedRepository(tmp_path / str(has_cache), has_response_cache=has_cache)
        repository.place(step, "m", {})
        placed = parse((repository.folder / "m" / "config.pbtxt").read_text())
        assert placed.response_cache.enable is has_cache


def test_the_author_s_config_stays_as_it_is():
    config = parse(f'name: "m" backend: "python" {CACHED}')
    assert not rewrite(config, "m", {}, has_response_cache=False).HasField("response_cache")
    assert config.response_cache.enable
