"""Whatever tensor goes out by one codec comes back by the same codec, bit for bit."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from server.codecs.http import compression
from server.codecs.kserve import bytes_elements
from server.domain.inference import NUMPY_BY_DATATYPE, Tensor
from tests.unit.codecs.codec_archives import archive, ask, binary, document, echo, written

ANY, BYTES = st.sampled_from(sorted(NUMPY_BY_DATATYPE)), st.binary(max_size=9)
SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)
BINARY = {"parameters": {"binary_data_output": True}}
NUMERIC = sorted(NUMPY_BY_DATATYPE.keys() - {"BYTES"})


@st.composite
def tensors(draw, datatypes=ANY, elements=BYTES):
    datatype, shape = draw(datatypes), draw(SHAPES)
    if datatype == "BYTES":
        count = int(np.prod(shape))
        values = draw(st.lists(elements, min_size=count, max_size=count))
        return Tensor("Y", datatype, bytes_elements.object_array(values, shape))
    data = draw(hnp.arrays(NUMPY_BY_DATATYPE[datatype], shape))
    return Tensor("Y", datatype, data.T if draw(st.booleans()) else data)


def whole(datatype, ndim):
    """An archive that takes and gives any shape of that many dimensions."""
    return echo(datatype, (-1,) * ndim)


def bits(array):
    """Bytes compare NaN payloads too; BYTES compare as they are."""
    return array.tolist() if array.dtype == object else np.ascontiguousarray(array).tobytes()


def asking(target, dtype, ndim, **more):
    """Decode some request for `target`, in order to get at its encoder."""
    doc = document([], (0,) * ndim, dtype)
    doc["inputs"][0].pop("data")
    doc["inputs"][0]["parameters"] = {"binary_data_size": 0}
    return ask(target, {**doc, **more.pop("document", {})}, **more)


@given(tensors(), st.booleans())
def test_binary_answers_are_binary_requests(tensor, is_kserve):
    """Encode as an answer, rename outputs to inputs, decode: the same shape and the same bits."""
    target = whole(tensor.datatype, tensor.data.ndim)
    decoded = asking(target, tensor.datatype, tensor.data.ndim, document=BINARY)
    answer, body = written(decoded, tensor)
    size = int(answer.headers.get("inference-header-content-length", len(body)))
    entry = json.loads(body[:size])["outputs"][0]
    again, content_type = binary({"inputs": [{**entry, "name": "X"}], **BINARY}, body[size:])
    if is_kserve:
        got = ask(target, again, "", json_header_size=len(again) - len(body) + size)
    else:
        got = ask(target, again, content_type)
    data = got.request.inputs["X"].data
    assert (data.shape, data.dtype) == (tensor.data.shape, tensor.data.dtype)
    assert bits(data) == bits(tensor.data)


@given(
    tensors(st.sampled_from(sorted(NUMPY_BY_DATATYPE.keys() - {"FP16", "BF16"})), st.text(max_size=9).map(str.encode))
)
def test_json_answers_are_json_requests(tensor):
    if tensor.data.dtype.kind == "f":  # JSON has neither NaN nor infinities
        tensor = Tensor("Y", tensor.datatype, np.nan_to_num(tensor.data, nan=0, posinf=1, neginf=-1))
    target = whole(tensor.datatype, tensor.data.ndim)
    _, body = written(asking(target, tensor.datatype, tensor.data.ndim), tensor)
    entry = json.loads(body)["outputs"][0]
    data = ask(target, {"inputs": [{**entry, "name": "X"}]}).request.inputs["X"].data
    assert (data.shape, data.dtype) == (tensor.data.shape, tensor.data.dtype)
    assert bits(data) == bits(tensor.data)


@given(tensors(st.sampled_from(["INT32", "FP64", "BOOL", "UINT64"])).filter(lambda tensor: tensor.data.size))
def test_nested_data_equals_flat_data(tensor):
    target = whole(tensor.datatype, tensor.data.ndim)
    data = np.nan_to_num(tensor.data) if tensor.datatype == "FP64" else tensor.data
    doc = document(data.tolist(), data.shape, tensor.datatype)
    np.testing.assert_array_equal(ask(target, doc).request.inputs["X"].data, data, strict=True)


@given(tensors(st.sampled_from(NUMERIC)))
def test_npy_answers_are_npy_requests(tensor):
    target = whole(tensor.datatype, tensor.data.ndim)
    decoded = asking(target, tensor.datatype, tensor.data.ndim, accept="application/x-npy")
    _, body = written(decoded, tensor)
    assert bits(np.load(io.BytesIO(body), allow_pickle=False)) == bits(tensor.data)
    data = ask(target, body, "application/x-npy").request.inputs["X"].data
    assert (data.shape, data.dtype, bits(data)) == (tensor.data.shape, tensor.data.dtype, bits(tensor.data))


@given(st.text(max_size=50))
def test_a_text_reaches_the_model_as_utf8_by_every_road(text):
    target = archive([("T", "BYTES", (1,))], [("Y", "FP32", (1,))], 4)
    roads = [ask(target, text.encode(), "text/plain; charset=utf-8"), ask(target, {"inputs": text})]
    assert [[[text.encode()]]] * 2 == [road.request.inputs["T"].data.tolist() for road in roads]


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.sampled_from(["gzip", "deflate"]))
def test_what_is_deflated_inflates(pieces, encoding):
    body = b"".join(pieces)
    assert compression.inflate(compression.deflate(tuple(pieces), encoding), encoding, len(body)) == body


@pytest.mark.parametrize("datatype", NUMERIC)
@given(data=st.data())
def test_raw_requests_are_their_bytes(datatype, data):
    array = data.draw(hnp.arrays(NUMPY_BY_DATATYPE[datatype], st.integers(0, 5)))
    got = ask(echo(datatype), array.tobytes(), "", json_header_size=0).request.inputs["X"].data
    assert (got.shape, bits(got)) == (array.shape, bits(array))
