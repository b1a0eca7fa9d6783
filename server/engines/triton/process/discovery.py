"""Finds a Triton to run: a folder that was named, the NGC container's, the pip wheel's in `.triton/`, or one on PATH.

Nothing is started here; a found Triton is described so that `server_process` and `backend_folder` can run it.
"""

import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from server.domain.errors import BackendError

CONTAINER_ROOT: Final = Path("/opt/tritonserver")
FOLDER_VARIABLE: Final = "ROUNDHOUSE_TRITON"
DEFAULT_FOLDER: Final = Path(".triton")
_WHEEL_SERVER: Final = Path("pytriton/tritonserver")
_WHEEL_LIBRARIES: Final = Path("nvidia_pytriton.libs")


class TritonMissing(BackendError):
    """No usable Triton was found. The message says where it was looked for, and how to get one."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A Triton on this machine: its binary, its backends, and the environment it must be started with."""

    kind: str
    """`container` (a full Triton with native backends) or `wheel` (the one inside nvidia-pytriton)."""
    server: Path
    backends: Path
    python_stub: Path | None = None
    """The Python backend's stub where it does not lie in `backends/python` already."""
    library_dirs: tuple[Path, ...] = ()
    path_dirs: tuple[Path, ...] = ()
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def caches(self) -> Path | None:
        """The folder of cache libraries, if it has the one that keeps responses in memory."""
        folder = self.server.parent.parent / "caches"
        return folder if (folder / "local/libtritoncache_local.so").is_file() else None

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` with this Triton's own search paths in front."""
        merged = dict(base) | dict(self.variables)
        for variable, folders in (("PATH", self.path_dirs), ("LD_LIBRARY_PATH", self.library_dirs)):
            parts = [*map(str, folders), *filter(None, [base.get(variable)])]
            if parts:
                merged[variable] = ":".join(parts)
        return merged


def discover(root: Path | None, environment: Mapping[str, str], working_dir: Path | None = None) -> Installation:
    """Find a Triton: `root`, then /opt/tritonserver, then $ROUNDHOUSE_TRITON or `.triton`, then PATH.

    Raises:
        TritonMissing: none is there, or the one that was named does not fit this Python.
    """
    if root is not None:
        found = installation_in(root)
        if found is None:
            raise TritonMissing(f"there is no Triton in the folder {str(root)!r}; {_HOW_TO_GET_ONE}")
        return found
    wheel_folder = (working_dir or Path.cwd()) / environment.get(FOLDER_VARIABLE, str(DEFAULT_FOLDER))
    for folder in (CONTAINER_ROOT, wheel_folder):
        found = installation_in(folder)
        if found is not None:
            return found
    binary = shutil.which("tritonserver", path=environment.get("PATH", ""))
    found = installation_in(Path(binary).resolve().parent.parent) if binary else None
    if found is None:
        raise TritonMissing(f"no Triton was found in {CONTAINER_ROOT}, {wheel_folder} or PATH; {_HOW_TO_GET_ONE}")
    return found


def installation_in(folder: Path) -> Installation | None:
    """The Triton in `folder`: a Triton's own layout (`bin/`, `backends/`) or the unpacked wheel; `None` if neither.

    Raises:
        TritonMissing: it is the wheel, but has no Python stub for the version of this interpreter.
    """
    folder = folder.resolve()
    if (folder / _WHEEL_SERVER / "bin/tritonserver").is_file():
        return _wheel(folder)
    if (folder / "bin/tritonserver").is_file() and (folder / "backends").is_dir():
        return Installation("container", folder / "bin/tritonserver", folder / "backends")
    return None


def _wheel(folder: Path) -> Installation:
    """The pip Triton. Its stub takes `sys.path` from the `python3` that is first on PATH, and ignores PYTHONPATH."""
    server = folder / _WHEEL_SERVER
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        there = ", ".join(sorted(entry.name for entry in stub.parent.parent.glob("*")))
        raise TritonMissing(f"the Triton in {folder} has Python stubs for {there}, and none for {version}")
    python_libraries = sysconfig.get_config_var("LIBDIR")
    return Installation(
        kind="wheel",
        server=server / "bin/tritonserver",
        backends=server / "backends",
        python_stub=stub,
        # Without Python's own library folder the stub runs with the system's libpython and this Python's modules.
        library_dirs=(folder / _WHEEL_LIBRARIES, *([Path(python_libraries)] if python_libraries else [])),
        path_dirs=(Path(sys.executable).parent,),
    )


_HOW_TO_GET_ONE: Final = "run `make triton` to install one into .triton, or start inside NVIDIA's Triton container"
