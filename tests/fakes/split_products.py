"""Split matrix products without ONNX Runtime: the C function by ctypes."""

import ctypes

import numpy as np
import pytest

from server.engines.embedded.split_products.split_library import split_library
from server.engines.embedded.split_products.split_weights import split_weights

NEEDS_TILES = pytest.mark.skipif(split_library() is None, reason="no AMX here, or no C compiler when it was installed")


class _Product(ctypes.Structure):
    """`split_product` of split_matmul.h."""

    _fields_ = (
        ("x", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("inner", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("weights", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("activation", ctypes.c_int),
        ("y", ctypes.c_void_p),
    )


def multiply(x, matrix, bias, *, gelu=False, room=0):
    """`x @ matrix + bias`, FP32. `room`: numbers before and behind the result, which must stay as they were (-1)."""
    library = ctypes.CDLL(str(split_library()))
    library.split_matmul_here.restype = ctypes.c_bool
    weights = split_weights(matrix)
    rows, columns = len(x), matrix.shape[1]
    memory = np.full(room + rows * columns + room, -1, np.float32)
    y = memory[room : room + rows * columns]
    y[:] = np.nan
    pointers = [np.ascontiguousarray(each) for each in (x, weights, bias)]
    product = _Product(
        pointers[0].ctypes.data,
        *(rows, *matrix.shape),
        *(each.ctypes.data for each in pointers[1:]),
        int(gelu),
        y.ctypes.data,
    )
    assert library.split_matmul_here(ctypes.byref(product))
    assert (memory[:room] == -1).all()
    assert (memory[len(memory) - room :] == -1).all()
    return y.reshape(rows, columns)
