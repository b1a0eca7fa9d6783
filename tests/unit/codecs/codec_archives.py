"""Archives and payloads for the codec tests: a signature is all that a codec looks at."""

import json
from pathlib import Path

import numpy as np

from server.codecs.registry import decode
from server.domain.inference import NUMPY_BY_DATATYPE, InferenceResponse, Tensor
from server.domain.model import ModelSignature, StagedArchive, Step, StepDigest, TensorSpec
from server.domain.payload import Payload

SAGEMAKER = "application/vnd.sagemaker-triton.binary+json"


def archive(inputs, outputs, batch=0, task="", name="m.tar.gz"):
    """Give an archive whose entry model takes `inputs` and gives `outputs`: tuples of (name, datatype, dims, ...)."""
    signature = ModelSignature(
        "onnxruntime_onnx",
        batch,
        tuple(TensorSpec(*spec) for spec in inputs),
        tuple(TensorSpec(*spec) for spec in outputs),
    )
    step = Step(StepDigest("0" * 64), "m", "onnxruntime", Path("m"), signature)
    return StagedArchive(name, "1", step.digest, (step,), task)


def echo(datatype, dims=(-1,), batch=0):
    """Give an archive with one input X and one output Y of the same kind."""
    return archive([("X", datatype, dims)], [("Y", datatype, dims)], batch)


EMBEDDING = archive([("INPUT0", "BYTES", (1,))], [("OUTPUT0", "FP32", (3,))], 8, "sentence-embedding")


def document(data=None, shape=(2,), datatype="FP32", name="X", **more):
    """Give a KServe request document with one input."""
    entry = {"name": name, "shape": list(shape), "datatype": datatype}
    if data is not None:
        entry["data"] = data
    return {"inputs": [entry], **more}


def ask(target, body, content_type="application/json", accept="", json_header_size=None):
    """Decode a body (bytes, or a document to write as JSON)."""
    raw = body if isinstance(body, bytes | memoryview) else json.dumps(body).encode()
    return decode(Payload(raw, content_type, accept, json_header_size), target)


def binary(doc, *tails):
    """Give the body and the SageMaker Content-Type of a binary request."""
    head = json.dumps(doc).encode()
    return b"".join((head, *tails)), f"{SAGEMAKER};json-header-size={len(head)}"


def tensor(name, datatype, values, shape=None):
    """Give a tensor of nested lists."""
    if datatype == "BYTES":
        flat = np.empty(len(values), object)
        flat[:] = values
        return Tensor(name, datatype, flat.reshape(shape or (-1,)))
    array = np.array(values, NUMPY_BY_DATATYPE[datatype])
    return Tensor(name, datatype, array if shape is None else array.reshape(shape))


def written(decoded, *tensors, model="m.tar.gz", **parameters):
    """Encode an answer; gives the Answer and its whole body."""
    answer = decoded.encode(InferenceResponse(tensors, parameters), model)
    return answer, b"".join(answer.body)
