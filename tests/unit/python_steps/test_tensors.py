"""`pb_utils.Tensor`, the type tables and the text encoding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc.model_config_pb2 import DataType

from server.engines.embedded.python_steps import tensors
from server.engines.embedded.python_steps.tensors import Tensor
from server.engines.embedded.python_steps.triton_errors import TritonModelException


@given(st.lists(st.binary(max_size=40)))
def test_text_survives_encoding(elements):
    array = np.empty(len(elements), np.object_)
    array[:] = elements

    assert tensors.deserialize_bytes_tensor(tensors.pack_strings(array)).tolist() == elements


def test_serialize_byte_tensor_is_length_and_bytes():
    encoded = tensors.serialize_byte_tensor(np.array(["é", b"ab", 7], np.object_))

    assert encoded == b"\x02\0\0\0\xc3\xa9\x02\0\0\0ab\x01\0\0\x007"


def test_serialize_byte_tensor_of_nothing_and_of_numbers():
    assert tensors.serialize_byte_tensor(np.zeros(0, np.object_)) == ()
    assert tensors.serialize_byte_tensor(np.zeros(1)) is None


@pytest.mark.parametrize("data", [b"\x01", b"\x02\0\0\0a"])
def test_text_that_is_cut_short_is_refused(data):
    with pytest.raises(TritonModelException, match="cut short"):
        tensors.deserialize_bytes_tensor(data)


@pytest.mark.parametrize("name", [name for name, _ in DataType.items() if name not in {"TYPE_INVALID", "TYPE_BF16"}])
def test_type_tables_agree_with_tritons_schema(name):
    scalar = tensors.triton_string_to_numpy(name)

    assert tensors.numpy_to_triton_type(scalar) == DataType.Value(name)
    assert tensors.triton_to_numpy_type(DataType.Value(name)) is scalar


def test_unknown_types_have_no_number():
    assert tensors.numpy_to_triton_type(np.complex64) is None
    assert tensors.triton_to_numpy_type(99) is None


def test_a_tensor_tells_what_it_is():
    array = np.zeros((2, 3), np.float16)
    tensor = Tensor("T", array)

    assert (tensor.name(), tensor.shape(), tensor.triton_dtype(), tensor.is_cpu()) == ("T", [2, 3], 10, True)
    assert tensor.as_numpy() is array


@pytest.mark.parametrize("array", [np.array(["text"]), np.zeros(1, np.complex64), np.zeros(1, "V4")])
def test_what_triton_has_no_type_for_is_refused(array):
    with pytest.raises(TritonModelException, match="tensor 'T'"):
        Tensor("T", array)


def test_a_tensor_needs_a_name_and_an_array():
    with pytest.raises(TypeError, match="needs a numpy array, not list"):
        Tensor("T", [1, 2])
    with pytest.raises(TritonModelException, match="needs a name"):
        Tensor("", np.zeros(1))


def test_dlpack_shares_memory_both_ways():
    array = np.arange(3, dtype=np.float32)
    for exported in (Tensor("T", array), Tensor("T", array).to_dlpack(), array):
        assert np.shares_memory(Tensor.from_dlpack("U", exported).as_numpy(), array)


def test_dlpack_of_a_gpu_is_refused():
    class OnGpu:
        def __dlpack__(self):
            raise AssertionError

        def __dlpack_device__(self):
            return (2, 0)

    with pytest.raises(TritonModelException, match="not in host memory"):
        Tensor.from_dlpack("T", OnGpu())


def test_text_elements_become_bytes_and_bytes_are_left_alone():
    right = np.array([[b"a", b"b"]], np.object_)

    assert tensors.with_bytes_elements(right) is right
    assert tensors.with_bytes_elements(np.array([["é", 1]], np.object_)).tolist() == [["é".encode(), b"1"]]
    assert tensors.with_bytes_elements(np.array([b"abc"])).tolist() == [b"abc"]
