"""The sentences of ARCHITECTURE.md, as import-linter contracts in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT = Path(sys.executable).with_name("lint-imports")


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT, "--no-cache", "--config", ROOT / "pyproject.toml"], cwd=root, capture_output=True, text=True, check=False
    )


def test_every_contract_is_kept():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("server/residency/planning/planner.py", "import asyncio", "What decides does no I/O and keeps no time"),
        ("server/archive/layout.py", "import server.store.local", "imports point downwards only"),
        ("server/codecs/registry.py", "import server.engines.completion", "imports point downwards only"),
        ("server/domain/model.py", "import fastapi", "Only api, lifespan, commands and main speak HTTP frameworks"),
        ("server/serving/dispatcher.py", "import torch", "The runtime carries no build tools"),
        (
            "builders/cli/options.py",
            "import server.residency.planning.planner",
            "Builders share only the archive format",
        ),
    ],
)
def test_a_planted_violation_is_caught(tmp_path, file, line, contract):
    """The contracts would be worth nothing if they could not fail."""
    for top in ("server", "builders", "benchmarks"):
        for path in (ROOT / top).rglob("*.py"):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(path.read_text())
    victim = tmp_path / file
    victim.write_text(f"{line}\n{victim.read_text()}")
    done = lint(tmp_path)
    assert done.returncode != 0
    broken = [row for row in done.stdout.splitlines() if "BROKEN" in row]
    assert any(contract in row for row in broken), done.stdout
