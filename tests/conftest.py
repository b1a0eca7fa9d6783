"""Settings for every test: hypothesis profiles, what runs on one worker, and the repository root on the path.

The path is there so that `tests.fakes` imports.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# `ci` bounds the time of the whole suite; `nightly` looks for what `ci` is too short to find.
settings.register_profile("ci", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("nightly", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# On Python 3.11 pytest-asyncio looks for the current loop before its first test, which would create one that nobody
# closes; the warning about it would then fail whichever test runs at that moment.
asyncio.set_event_loop(None)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what has to run on one worker (`--dist loadgroup`): what shares a server or an archive that takes long to make.

    That is a file; of the tests that take both engines in turn, a file and an engine, so that a worker which comes to
    the next file still has that engine's servers; or what files of one group name by `pytest.mark.xdist_group`.
    And what is slow goes first.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(_group(item)))
    # At the end all workers but one would wait for it.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Fail where xdist does not see the groups: files would be torn apart, and their servers started twice."""
    ungrouped = [each for each in ids if "@" not in each]
    if node.config.option.dist == "loadgroup" and ungrouped:
        raise pytest.UsageError(f"xdist sees no group of {ungrouped[0]}: this pytest and this xdist do not fit")


def _group(item: pytest.Item) -> str:
    engine = (
        item.callspec.params.get("engine") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else None
    )
    return item.path.stem if engine is None else f"{item.path.stem}-{engine}"
