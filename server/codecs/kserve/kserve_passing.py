"""KServe v2 requests that need no decoding: they go to an engine that speaks KServe itself, tensors and all.

That is the raw pass-through: all inputs are binary tensors, all outputs are wanted as such, and the JSON part says
nothing else. It is small, so it is read, and checked as on the usual road (`kserve_request.py`). What is not plainly
right or not plainly simple takes that road, which also knows what to say about it. The tensors' bytes stay as they are.
The JSON part is written anew both ways: on the way out because another parser may take another of two equal keys, so
that it would read what was not checked; on the way back because it names the engine's model, not the archive.

JSON tensors never pass: what `kserve_json.py` promises about numbers is more than what other parsers keep.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import orjson

from server.codecs.http import media_type
from server.codecs.kserve import kserve_binary, kserve_json
from server.codecs.kserve.kserve_expected import Expected, expected
from server.codecs.kserve.kserve_reply import MODEL_VERSION
from server.domain.errors import InferenceFailed
from server.domain.inference import NUMPY_BY_DATATYPE
from server.domain.model import StagedArchive
from server.domain.payload import Answer, Framed, FramedAnswer, Payload

MOST_HEAD_BYTES: Final = 1 << 14
"""A JSON part beyond this has more to say than names and shapes."""
_DECODED: Final = frozenset({"BOOL"})
"""Its bytes may be any, and are made 0 and 1."""
_ANY_FORM: Final = ("", "*/*")
_KEYS: Final = frozenset({"id", "inputs", "outputs", "parameters"})


@dataclass(frozen=True, slots=True)
class Passing:
    """A request as it goes on, and how its answer goes back. `outputs` are in the order in which they are wanted."""

    request: Framed
    outputs: Sequence[str]
    is_sagemaker: bool

    def encode(self, answer: FramedAnswer, model_name: str) -> Answer:
        """Write the answer as `kserve_reply` would.

        Raises:
            InferenceFailed: the engine's answer is not what was asked for.
        """
        given = _by_name(answer)
        missing = next((name for name in self.outputs if name not in given), None)
        if missing is not None:
            raise InferenceFailed(f"the model gave no output {missing!r}")
        head: dict[str, Any] = {}
        if answer.document.get("id"):
            head["id"] = answer.document["id"]
        head["model_name"] = model_name
        head["model_version"] = MODEL_VERSION
        if answer.document.get("parameters"):
            head["parameters"] = answer.document["parameters"]
        head["outputs"] = [given[name][0] for name in self.outputs]
        tails = [given[name][1] for name in self.outputs]
        text = kserve_json.dump(head)
        if not any(tails):
            return Answer((text,), media_type.JSON)
        content_type = (
            f"{media_type.SAGEMAKER_BINARY};{kserve_binary.HEADER_SIZE_PARAMETER}={len(text)}"
            if self.is_sagemaker
            else media_type.OCTET_STREAM
        )
        return Answer((text, *tails), content_type, {kserve_binary.KSERVE_SIZE_HEADER: str(len(text))})


def passing(payload: Payload, archive: StagedArchive) -> Passing | None:
    """The request as it may go on; None where it has to be decoded. Nothing is raised."""
    size = _header_size(payload)
    if size is None or payload.is_generate or payload.parameters or payload.accept not in _ANY_FORM:
        return None
    if not 0 < size <= min(len(payload.body), MOST_HEAD_BYTES):
        return None
    view = memoryview(payload.body)
    tail = view[size:]
    try:
        document = orjson.loads(view[:size])
    except orjson.JSONDecodeError:
        return None
    known = expected(archive.signature)
    if not _is_simple(document) or not _inputs_fit(document["inputs"], len(tail), known):
        return None
    outputs = _wanted(document, known)
    if outputs is None:
        return None
    return Passing(Framed(orjson.dumps(document), tail), outputs, payload.json_header_size is None)


def _header_size(payload: Payload) -> int | None:
    """How long the JSON part is; None where the usual road has to find that out."""
    if payload.json_header_size is not None:
        return payload.json_header_size
    content = media_type.parse(payload.content_type)
    if content.essence != media_type.SAGEMAKER_BINARY:
        return None
    size = content.parameters.get(kserve_binary.HEADER_SIZE_PARAMETER, "")
    return int(size) if size.isascii() and size.isdigit() and len(size) < _DIGITS else None


_DIGITS: Final = 10


def _is_simple(document: object) -> bool:
    return (
        isinstance(document, dict)
        and document.keys() <= _KEYS
        and isinstance(document.get("inputs"), list)
        and isinstance(document.get("id", ""), str)
    )


def _inputs_fit(entries: list[object], tail_bytes: int, known: Expected) -> bool:
    """Whether the entries are all that the archive takes, as binary tensors of right types, shapes and sizes."""
    seen: set[str] = set()
    rows = 0
    for entry in entries:
        if not isinstance(entry, dict) or entry.keys() != _ENTRY:
            return False
        name, shape, parameters = entry["name"], entry["shape"], entry["parameters"]
        spec = known.inputs.get(name) if isinstance(name, str) else None
        if spec is None or name in seen or entry["datatype"] != spec.datatype or spec.datatype in _DECODED:
            return False
        if not _fits(shape, known.shapes[name]):
            return False
        if known.signature.is_batched:
            rows = rows or shape[0]
            if shape[0] != rows or rows > known.signature.max_batch_size:
                return False
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) and len(parameters) == 1 else None
        if type(size) is not int or not _is_size(size, spec.datatype, shape):
            return False
        tail_bytes -= size
        seen.add(name)
    return tail_bytes == 0 and known.required <= seen


_ENTRY: Final = {"name", "shape", "datatype", "parameters"}


def _fits(shape: object, declared: tuple[int, ...]) -> bool:
    if not isinstance(shape, list) or len(shape) != len(declared):
        return False
    for got, wanted in zip(shape, declared, strict=True):
        if type(got) is not int or got < 1 or wanted not in (-1, got):
            return False
    return True


def _is_size(size: int, datatype: str, shape: list[int]) -> bool:
    if datatype == "BYTES":  # what is inside is the engine's to say
        return size > 0
    return size == prod(shape) * NUMPY_BY_DATATYPE[datatype].itemsize


def _wanted(document: Mapping[str, Any], known: Expected) -> Sequence[str] | None:
    """The names of the outputs, which are all wanted as binary tensors; None where they are not."""
    parameters, entries = document.get("parameters"), document.get("outputs")
    if parameters and not _says_only(parameters, "binary_data_output"):
        return None
    names = [spec.name for spec in known.signature.outputs]
    if not entries:
        return names if parameters else None
    if not isinstance(entries, list):
        return None
    wanted: list[str] = []
    for entry in entries:
        if not isinstance(entry, dict) or entry.keys() != {"name", "parameters"}:
            return None
        if not _says_only(entry["parameters"], "binary_data") or entry["name"] not in names or entry["name"] in wanted:
            return None
        wanted.append(entry["name"])
    return wanted


def _says_only(parameters: object, wish: str) -> bool:
    return isinstance(parameters, dict) and len(parameters) == 1 and parameters.get(wish) is True


def _by_name(answer: FramedAnswer) -> dict[str, tuple[dict[str, Any], memoryview]]:
    """Entries and data of the outputs. Triton writes an output without elements as JSON."""
    view, offset = memoryview(answer.tail), 0
    found = {}
    for entry in answer.document["outputs"]:
        size = entry.get("parameters", {}).get("binary_data_size", 0)
        if offset + size > len(view) or entry.get("data"):
            raise InferenceFailed(f"the engine's answer does not hold what it says of output {entry['name']!r}")
        plain = {"name": entry["name"], "datatype": entry["datatype"], "shape": entry["shape"]}
        found[entry["name"]] = ({**plain, "parameters": {"binary_data_size": size}}, view[offset : offset + size])
        offset += size
    return found
