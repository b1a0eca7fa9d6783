"""Bodies: one tensor as JSON numbers or as bytes behind a JSON header, photographs, and a model that touches bytes."""

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from benchmarks.load.closed_loop import Load

ARCHIVES: Final = Path("model_repository/archives")
PHOTOS: Final = Path("model_repository/photos")
JSON: Final = {"content-type": "application/json"}
_DATATYPES: Final = {"uint8": "UINT8", "float32": "FP32", "int64": "INT64"}


@dataclass(frozen=True, slots=True)
class Body:
    """A request's content and the headers that say what it is."""

    content: bytes
    headers: Mapping[str, str]

    def load(self, port: int, archive: str, concurrency: int, seconds: float, path: str = "/invocations") -> Load:
        """A closed loop that sends it to an archive of a Roundhouse."""
        headers = {**self.headers, "x-amzn-sagemaker-target-model": archive}
        content = base64.b64encode(self.content).decode()
        return Load("127.0.0.1", port, path, headers, [content], concurrency, seconds, encoding="base64")


def archive_file(name: str) -> Path:
    """A demo archive. Raises RuntimeError where it was not built."""
    file = ARCHIVES / name
    if not file.is_file():
        raise RuntimeError(f"{file} is missing: make archives")
    return file


def document(content: Mapping[str, Any]) -> Body:
    """A JSON document."""
    return Body(json.dumps(content).encode(), JSON)


def json_numbers(name: str, array: NDArray[Any], wanted: str = "") -> Body:
    """A KServe v2 request with one tensor as a flat list of numbers; `wanted` is the output that is asked for."""
    outputs = {"outputs": [{"name": wanted}]} if wanted else {}
    return document({"inputs": [{**_described(name, array), "data": array.ravel().tolist()}], **outputs})


def binary_tensor(name: str, array: NDArray[Any], wanted: str = "") -> Body:
    """A KServe v2 request with one tensor as bytes behind the JSON header, answered in the same form."""
    described = {**_described(name, array), "parameters": {"binary_data_size": array.nbytes}}
    outputs = {"outputs": [{"name": wanted, "parameters": {"binary_data": True}}]} if wanted else {}
    header = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}, **outputs}).encode()
    kind = f"application/vnd.sagemaker-triton.binary+json;json-header-size={len(header)}"
    return Body(header + array.tobytes(), {"content-type": kind, "accept": kind.split(";", 1)[0]})


def _described(name: str, array: NDArray[Any]) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": _DATATYPES[str(array.dtype)]}


def photo(name: str = "coffee.png", width: int = 640, height: int = 480, quality: int = 93) -> bytes:
    """A photograph as JPEG; the default is 640 x 480 and about 100 KB. Raises RuntimeError where there is none."""
    if not (PHOTOS / name).is_file():
        raise RuntimeError(f"{PHOTOS / name} is missing: make archives")
    file = io.BytesIO()
    with Image.open(PHOTOS / name) as image:
        image.convert("RGB").resize((width, height)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def touch_store(root: Path) -> Path:
    """A store with one archive `touch`, which takes any number of UINT8; returns the archive's folder.

    OUTPUT0 is their mean, ECHO what came in. Both cost the engine next to nothing, so that what remains is moving,
    reading and writing the body.
    """
    nodes = [
        helper.make_node("Cast", ["INPUT0"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["OUTPUT0"], keepdims=1),
        helper.make_node("Identity", ["INPUT0"], ["ECHO"]),
    ]
    taken = helper.make_tensor_value_info("INPUT0", TensorProto.UINT8, ["bytes"])
    mean = helper.make_tensor_value_info("OUTPUT0", TensorProto.FLOAT, [1])
    echo = helper.make_tensor_value_info("ECHO", TensorProto.UINT8, ["bytes"])
    graph = helper.make_graph(nodes, "touch", [taken], [mean, echo])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder = root / "touch" / "touch"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "config.pbtxt").write_text(
        'name: "touch"\nbackend: "onnxruntime"\nmax_batch_size: 0\n'
        'input { name: "INPUT0" data_type: TYPE_UINT8 dims: -1 }\n'
        'output { name: "OUTPUT0" data_type: TYPE_FP32 dims: 1 }\n'
        'output { name: "ECHO" data_type: TYPE_UINT8 dims: -1 }\n'
        "instance_group { count: 1 kind: KIND_CPU }\n"
    )
    return folder.parent


def as_array(content: bytes) -> NDArray[np.uint8]:
    """Bytes as a UINT8 tensor."""
    return np.frombuffer(content, np.uint8)
