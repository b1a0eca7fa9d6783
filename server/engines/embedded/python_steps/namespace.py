"""Lets a step live in the server's process with modules of its own.

The step's files become submodules of a made-up package with a unique name, so two steps may both have a `logic.py`.
Its code keeps writing `import logic`: its modules get an `__import__` of their own, which looks beside `model.py`
first. Nothing is written to disk, and closing takes every module of the step out of `sys.modules`.
(`importlib.import_module("logic")` goes around this; steps that need it run isolated.)
"""

import builtins
import functools
import importlib
import importlib.util
import itertools
import linecache
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from server.engines.embedded.python_steps.utils_module import UTILS_NAME

_PREFIX: Final = "roundhouse_step_"
_numbers: Final = itertools.count(1)


class StepNamespace:
    """The modules of one step. Make it, import the model file, and close it in the end."""

    def __init__(self, folders: Sequence[Path], utils: ModuleType) -> None:
        """`folders` are searched in order for the step's own modules; `utils` is its triton_python_backend_utils."""
        self._package = f"{_PREFIX}{next(_numbers)}"
        self._utils = utils
        self._builtins: Mapping[str, Any] = {**vars(builtins), "__import__": self._import}
        self._is_sibling: dict[str, bool] = {}
        package = ModuleType(self._package)
        package.__path__ = [str(folder) for folder in folders]
        sys.modules[self._package] = package
        _finder.install(self._package, self)

    def import_file(self, file_name: str) -> ModuleType:
        """Import `model.py`. Raises whatever its code raises."""
        return importlib.import_module(f"{self._package}.{Path(file_name).stem}")

    def find_spec(self, name: str, folders: Sequence[str]) -> ModuleSpec | None:
        """Find one of the step's modules by its full name; None if the folders have none."""
        portions: list[str] = []
        for folder in folders:
            spec = self._finder(folder).find_spec(name)
            if spec is not None and spec.loader is not None:
                return spec
            if spec is not None:
                portions.extend(spec.submodule_search_locations or ())
        if not portions:
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = portions
        return spec

    def close(self) -> None:
        """Forget every module of the step."""
        _finder.remove(self._package)
        names = list(sys.modules)  # in one go: other threads import meanwhile
        for name in [name for name in names if name == self._package or name.startswith(f"{self._package}.")]:
            module = sys.modules.pop(name)
            linecache.cache.pop(getattr(module, "__file__", None) or "", None)
            # Functions and their globals refer to each other; this frees them now rather than at some collection.
            vars(module).clear()

    def _finder(self, folder: str) -> FileFinder:
        # A new finder each time: no directory listings stay behind, and imports are rare.
        source_loader: Any = functools.partial(_StepLoader, step_builtins=self._builtins)
        return FileFinder(folder, (ExtensionFileLoader, EXTENSION_SUFFIXES), (source_loader, SOURCE_SUFFIXES))

    def _import(
        self,
        name: str,
        globals_: Mapping[str, Any] | None = None,
        locals_: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """The `import` statement of the step's modules."""
        top = name.partition(".")[0]
        if level == 0 and top == UTILS_NAME:
            return self._utils
        if level == 0 and self._has_sibling(top):
            full_name = f"{self._package}.{name}"
            if fromlist:
                return builtins.__import__(full_name, globals_, locals_, fromlist, 0)
            importlib.import_module(full_name)
            return sys.modules[f"{self._package}.{top}"]
        return builtins.__import__(name, globals_, locals_, fromlist or (), level)

    def _has_sibling(self, top: str) -> bool:
        known = self._is_sibling.get(top)
        if known is None:
            spec = self.find_spec(f"{self._package}.{top}", sys.modules[self._package].__path__)
            # A data folder must not hide an installed library of the same name, so it counts as a package only last.
            known = spec is not None and (spec.loader is not None or importlib.util.find_spec(top) is None)
            self._is_sibling[top] = known
        return known


class _StepLoader(SourceFileLoader):
    """Runs a step's file with the step's own `import`, and writes no bytecode beside it."""

    def __init__(self, name: str, path: str, step_builtins: Mapping[str, Any]) -> None:
        super().__init__(name, path)
        self._step_builtins = step_builtins

    def exec_module(self, module: ModuleType) -> None:
        """Run the file."""
        module.__dict__["__builtins__"] = self._step_builtins
        super().exec_module(module)

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Do not write: staged folders never change."""
        del path, data, _mode


class _StepFinder:
    """The one entry in `sys.meta_path`, for all steps."""

    def __init__(self) -> None:
        self._steps: dict[str, StepNamespace] = {}

    def install(self, package: str, step: StepNamespace) -> None:
        """Start finding the modules of a step."""
        self._steps[package] = step
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def remove(self, package: str) -> None:
        """Stop finding them."""
        self._steps.pop(package, None)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The import system's question. Raises ModuleNotFoundError where a step lacks one of its own modules."""
        del target
        if not fullname.startswith(_PREFIX) or path is None:
            return None
        step = self._steps.get(fullname.partition(".")[0])
        spec = None if step is None else step.find_spec(fullname, path)
        if spec is None:
            own_name = fullname.partition(".")[2]
            raise ModuleNotFoundError(f"No module named {own_name!r}", name=fullname)
        return spec


_finder: Final = _StepFinder()
