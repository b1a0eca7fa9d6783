"""The library of `split_matmul.c`: whether it was built, whether this processor can run it."""

import ctypes
import importlib.machinery
import logging
from functools import lru_cache
from pathlib import Path
from typing import Final

_NAME: Final = "_split_matmul"

_log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def split_library() -> Path | None:
    """The library that ONNX Runtime loads its operators from; None where it would be of no use.

    It is built with the package, where there is a C compiler, and runs on x86-64 processors with AMX, under Linux 5.16
    or later.
    """
    path = next((path for path in _candidates() if path.is_file()), None)
    if path is None:
        _log.debug("built without split matrix products: there was no C compiler for them")
        return None
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        _log.warning("split matrix products cannot be loaded: %s", error)
        return None
    library.split_matmul_is_ready.restype = ctypes.c_bool
    return path if library.split_matmul_is_ready() else None


def _candidates() -> list[Path]:
    folder = Path(__file__).parent
    return [folder / f"{_NAME}{suffix}" for suffix in importlib.machinery.EXTENSION_SUFFIXES]
