"""A step's own modules inside the server's process."""

import sys
from types import ModuleType

import pytest

from server.engines.embedded.python_steps.namespace import StepNamespace
from tests.unit.python_steps.step_folders import write_step


def import_model(tmp_path, code: str, files: dict[str, str]) -> dict[str, str]:
    """The names of the modules that a model file has imported, by the names it knows them by."""
    folder = write_step(tmp_path, "step", code, files) / "1"
    namespace = StepNamespace((folder,), ModuleType("utils"))
    try:
        found = vars(namespace.import_file("model.py"))
        return {name: value.__name__ for name, value in found.items() if isinstance(value, ModuleType)}
    finally:
        namespace.close()


def test_siblings_hide_libraries_but_folders_of_data_do_not(tmp_path):
    found = import_model(
        tmp_path,
        "import json, email, data\nfrom data import inner\n",
        {"json.py": "MINE = 1", "email/notes.txt": "", "data/inner.py": "X = 2"},
    )

    assert found["json"].startswith("roundhouse_step_")
    assert found["email"] == "email"
    assert found["data"].endswith(".data")
    assert found["inner"].endswith(".data.inner")


def test_the_utils_are_the_steps_own_and_not_the_process(tmp_path):
    found = import_model(tmp_path, "import triton_python_backend_utils as pb_utils", {})

    assert found["pb_utils"] == "utils"
    assert "triton_python_backend_utils" not in sys.modules


@pytest.mark.parametrize("code", ["from . import missing", "import pack.missing", "from pack import missing"])
def test_a_missing_module_is_an_import_error(tmp_path, code):
    with pytest.raises(ImportError, match="missing"):
        import_model(tmp_path, code, {"pack/__init__.py": ""})


def test_closing_forgets_every_module(tmp_path):
    before = set(sys.modules)
    import_model(tmp_path, "import a.b, c", {"a/b.py": "", "c.py": "import a.b"})

    assert set(sys.modules) == before
