"""Whatever bytes arrive, a codec answers with a request or with a client's error; nothing else, and nothing slow.

Random requests are cut, patched, and sent under other headers. Planted in a copy, these bugs were each seen to fail
this file, its sibling or the unit tests: BYTES bounds off by three, too many BYTES elements, a negative header size,
no copy of unaligned data, no check of leftover bytes, sizes off by four, a binary Content-Type without binary bytes,
ascending classes, unbounded inflating, cut streams, bools as numbers, FP32 overflow, .npy in Fortran order, `][` and
`],[` in large lists, one text too many, and `q=0` in Accept.
"""

import contextlib
import gzip
import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from server.codecs import npy, registry
from server.codecs.http import compression
from server.domain.errors import ClientError
from server.domain.inference import NUMPY_BY_DATATYPE, InferenceResponse, Tensor
from server.domain.payload import Payload
from tests.unit.codecs.codec_archives import SAGEMAKER, archive

TARGETS = [
    archive(
        [("X", datatype, (-1,)), ("B", "BYTES", (-1, 2), True)], [("Y", datatype, (-1,)), ("Z", "BYTES", (1,))], batch
    )
    for datatype in sorted(NUMPY_BY_DATATYPE)
    for batch in (0, 2)
] + [
    archive([("X", datatype, (1,))], [("Y", datatype, (1,))], 2, "sentence-embedding") for datatype in ("BYTES", "FP32")
]

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
DIMS = st.lists(st.integers(-1, 3) | st.sampled_from([2**31, 2**62, 2**63, 2**64, 1.0, True, "1", None]), max_size=4)
SIZES = st.integers(-1, 40) | st.sampled_from([2**31, 2**63, 2**64, 1.5, True, "8", None])


def sometimes(strategy, rarely=JSON):
    return st.one_of(strategy, strategy, strategy, strategy, rarely)


ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "name": sometimes(st.sampled_from(["X", "B"])),
        "shape": sometimes(DIMS),
        "datatype": sometimes(st.sampled_from(sorted(NUMPY_BY_DATATYPE))),
        "data": sometimes(st.lists(SCALARS | st.lists(SCALARS, max_size=3), max_size=4)),
        "parameters": sometimes(
            st.fixed_dictionaries({}, optional={"binary_data_size": SIZES, "shared_memory_region": JSON})
        ),
    },
)
OUTPUTS = st.fixed_dictionaries(
    {},
    optional={
        "name": sometimes(st.sampled_from(["Y", "Z"])),
        "parameters": sometimes(st.fixed_dictionaries({}, optional={"binary_data": SCALARS, "classification": SIZES})),
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {"inputs": sometimes(st.lists(sometimes(ENTRIES), max_size=3))},
    optional={
        "id": sometimes(st.text(max_size=3)),
        "outputs": sometimes(st.lists(sometimes(OUTPUTS), max_size=3)),
        "parameters": sometimes(
            st.dictionaries(st.sampled_from(["a", "timeout", "binary_data_output", "triton_"]), SCALARS)
        ),
    },
)
TYPES = st.sampled_from(
    ["", "application/json", "text/plain", "text/csv", "application/x-npy", "text/plain;charset=utf-16"]
)
ACCEPTS = st.sampled_from(
    ["", "*/*", "application/json", "application/x-npy", "application/octet-stream", SAGEMAKER, "a/b"]
)
TARGET = st.sampled_from(TARGETS)


def answer_of(target):
    """One item of zeros per output; BYTES that are not text."""
    tensors = []
    for spec in target.signature.outputs:
        shape = (1,) * (len(spec.dims) + target.signature.is_batched)
        data = np.zeros(shape, NUMPY_BY_DATATYPE[spec.datatype])
        if spec.datatype == "BYTES":
            data[...] = b"\xff"
        tensors.append(Tensor(spec.name, spec.datatype, data))
    return InferenceResponse(tuple(tensors))


def survives(payload, target):
    """Decode; what decodes has to fit the signature that the engine relies on, and to be answerable."""
    try:
        decoded = registry.decode(payload, target)
    except ClientError:
        return False
    request = decoded.request
    with contextlib.suppress(ClientError):
        assert decoded.encode(answer_of(target), "m").body
    specs = {spec.name: spec for spec in target.signature.inputs}
    assert {spec.name for spec in specs.values() if not spec.is_optional} <= request.inputs.keys() <= specs.keys()
    for name, tensor in request.inputs.items():
        assert tensor.data.dtype == NUMPY_BY_DATATYPE[specs[name].datatype]
        assert len(tensor.shape) == len(specs[name].dims) + target.signature.is_batched
        assert tensor.datatype != "BYTES" or all(isinstance(element, bytes) for element in tensor.data.ravel().tolist())
    return True


@given(st.binary(max_size=300), TYPES | st.text(max_size=20), ACCEPTS | st.text(max_size=20), TARGET)
def test_random_bytes(body, content_type, accept, target):
    assert survives(Payload(body, content_type, accept), target) in (True, False)


@given(st.binary(max_size=100), st.integers(-5, 120), TARGET)
def test_random_header_sizes(body, size, target):
    assert survives(Payload(body, json_header_size=size), target) in (True, False)


@given(DOCUMENTS | JSON, st.binary(max_size=40), st.integers(-3, 3), ACCEPTS, TARGET)
def test_random_documents(document, tail, slip, accept, target):
    head = json.dumps(document).encode()
    content_type = f"{SAGEMAKER};json-header-size={len(head) + (slip if abs(slip) == 3 else 0)}"
    assert survives(Payload(head + tail, content_type, accept), target) in (True, False)
    assert survives(Payload(memoryview(head), "", accept), target) in (True, False)


def good(count):
    head = {"name": "X", "shape": [count], "datatype": "BYTES"}
    raw = b"".join(len(text).to_bytes(4, "little") + text for text in (b"x" * (i % 5) for i in range(count)))
    doc = {"inputs": [{**head, "parameters": {"binary_data_size": len(raw)}}]}
    return json.dumps(doc).encode(), raw


TEXTS = archive([("X", "BYTES", (-1,))], [("Y", "FP32", (1,))])


@given(st.integers(1, 6), st.data())
def test_every_cut_of_a_good_request_is_refused(count, data):
    head, raw = good(count)
    body = head + raw
    cut = data.draw(st.integers(0, len(body) - 1))
    assert survives(Payload(body, json_header_size=len(head)), TEXTS)
    assert not survives(Payload(body[:cut], json_header_size=len(head)), TEXTS)


@given(st.integers(1, 6), st.data())
def test_every_patch_of_the_elements_is_survived(count, data):
    head, raw = good(count)
    patched = bytearray(raw)
    patched[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    assert survives(Payload(head + bytes(patched), json_header_size=len(head)), TEXTS) in (True, False)


@given(st.data())
def test_every_patch_of_an_npy_file_is_survived(data):
    good_file = bytearray(_npy(np.arange(6, dtype=np.float32)))
    for _ in range(data.draw(st.integers(1, 3))):
        good_file[data.draw(st.integers(0, 100))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ClientError):
        assert npy.read(bytes(good_file)).flags.c_contiguous


def _npy(array):
    header = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + array.tobytes()


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "gzip, deflate"]), st.integers(0, 300), st.data())
def test_broken_streams_never_exceed_the_limit(body, encoding, limit, data):
    stream = bytearray(gzip.compress(body))
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(0, 255))
    for candidate in (bytes(stream), body):
        with contextlib.suppress(ClientError):
            assert len(compression.inflate(candidate, encoding, limit)) <= limit
