"""Only engines/triton speaks to Triton over the network; the others may use its schema.

import-linter sees external packages as a whole, so this one is read from the sources.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = "tritonclient.grpc.model_config_pb2"


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_network_clients_of_triton_stay_in_its_engine():
    speakers = {
        path.relative_to(ROOT).as_posix()
        for top in ("server", "builders")
        for path in (ROOT / top).rglob("*.py")
        if any(name.startswith("tritonclient") and not name.startswith(SCHEMA) for name in imported(path))
    }
    assert speakers, "the test looks in the wrong place"
    assert {path for path in speakers if not path.startswith("server/engines/triton/")} == set()
