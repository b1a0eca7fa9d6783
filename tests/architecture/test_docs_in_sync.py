"""The papers are true: every package has its line in ARCHITECTURE.md, every setting is explained once and listed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.settings import Settings
from tests.architecture.settings_table import TARGET, table

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(path.parent.relative_to(ROOT).as_posix() + "/" for path in (ROOT / "server").glob("*/__init__.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_on_the_map(package):
    assert package.removeprefix("server/") in (ROOT / "ARCHITECTURE.md").read_text()


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_explained(name):
    assert Settings.model_fields[name].description, (
        f"{name} needs a docstring that says what it means and in which unit"
    )


def test_the_settings_table_is_golden():
    if os.environ.get("ROUNDHOUSE_REWRITE_GOLDEN"):
        TARGET.write_text(table())
    assert TARGET.read_text() == table(), "docs/settings.md is out of date: make golden"


def test_the_server_imports_no_torch():
    code = (
        "import sys, server.main, server.commands.serve, server.commands.server_process; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch','transformers','onnx','sentence_transformers'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
