"""An InferenceResponse becomes a KServe v2 answer: JSON, or JSON with binary tensors behind it.

Key order, and which output is binary, follow Triton:
`{"id"?, "model_name", "model_version": "1", "parameters"?, "outputs": [{"name", "datatype", "shape", ...}]}`.
An answer counts as binary if at least one binary output has bytes. Then SageMaker's framing carries the size of the
JSON part in the Content-Type and KServe's in a header. The header is written in both framings, because a KServe
client that sends plain JSON does not say which of the two it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from server.codecs.http import media_type
from server.codecs.http.negotiation import Form
from server.codecs.kserve import classification, kserve_binary, kserve_json
from server.codecs.kserve.kserve_expected import expected
from server.codecs.kserve.kserve_request import BINARY_OUTPUT_PARAMETER
from server.domain.errors import InvalidRequest
from server.domain.inference import InferenceResponse, Tensor
from server.domain.model import ModelSignature
from server.domain.payload import Answer

MODEL_VERSION: Final = "1"


@dataclass(frozen=True, slots=True)
class OutputWish:
    """How one output is to be written: as binary or as JSON, and as itself or as its n best `classes` (0: itself)."""

    is_binary: bool
    classes: int = 0


_AS_JSON: Final = OutputWish(is_binary=False)
_AS_BINARY: Final = OutputWish(is_binary=True)
_NO_WISHES: Final[Mapping[str, OutputWish]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ReplyPlan:
    """How the answer to one request is to be written; `encode` writes it.

    `wishes` holds the outputs that the request lists, in its order; empty asks for all, written as `otherwise` says.
    """

    signature: ModelSignature
    is_sagemaker: bool
    id: str = ""
    wishes: Mapping[str, OutputWish] = field(default_factory=lambda: _NO_WISHES)
    otherwise: OutputWish = _AS_JSON

    def encode(self, response: InferenceResponse, model_name: str) -> Answer:
        """Write the answer.

        Raises:
            InvalidRequest: an output cannot be written as the request asked.
            InferenceFailed: the model's answer does not fit into JSON.
        """
        document: dict[str, Any] = {"id": self.id} if self.id else {}
        document["model_name"] = model_name
        document["model_version"] = MODEL_VERSION
        if response.parameters:
            document["parameters"] = dict(response.parameters)
        tails: list[bytes | memoryview] = []
        document["outputs"] = [self._entry(tensor, wish, tails) for tensor, wish in self._asked_for(response)]
        head = kserve_json.dump(document)
        if not any(tails):
            return Answer((head,), media_type.JSON)
        content_type = (
            f"{media_type.SAGEMAKER_BINARY};{kserve_binary.HEADER_SIZE_PARAMETER}={len(head)}"
            if self.is_sagemaker
            else media_type.OCTET_STREAM
        )
        return Answer((head, *tails), content_type, {kserve_binary.KSERVE_SIZE_HEADER: str(len(head))})

    def _asked_for(self, response: InferenceResponse) -> list[tuple[Tensor, OutputWish]]:
        if not self.wishes:
            return [(tensor, self.otherwise) for tensor in response.outputs]
        by_name = {tensor.name: tensor for tensor in response.outputs}
        return [(by_name[name], wish) for name, wish in self.wishes.items() if name in by_name]

    def _entry(self, tensor: Tensor, wish: OutputWish, tails: list[bytes | memoryview]) -> dict[str, Any]:
        if wish.classes:
            labels = next((spec.labels for spec in self.signature.outputs if spec.name == tensor.name), ())
            tensor = classification.classify(tensor, wish.classes, self.signature.is_batched, labels)
        entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if not wish.is_binary:
            entry["data"] = kserve_json.json_data(tensor)
            return entry
        raw = kserve_binary.raw_bytes(tensor)
        entry["parameters"] = {"binary_data_size": len(raw)}
        tails.append(raw)
        return entry


def plan(document: Mapping[str, Any], signature: ModelSignature, form: Form, is_kserve: bool) -> ReplyPlan:
    """Read from a valid request document how its answer is to be written.

    Raises:
        InvalidRequest: an output is asked for in a way its datatype does not allow.
    """
    if not document.get("parameters") and not document.get("outputs"):
        return _plain(document.get("id", ""), signature, form, is_kserve)
    return _as_asked(document, signature, form, is_kserve)


def _plain(identity: str, signature: ModelSignature, form: Form, is_kserve: bool) -> ReplyPlan:
    """The plan of a document that says nothing about its answer: the same for all of them."""
    plans = expected(signature).plans
    known: ReplyPlan | None = plans.get((form, is_kserve))
    if known is None:
        known = plans[form, is_kserve] = _as_asked({}, signature, form, is_kserve)
    return known if not identity else replace(known, id=identity)


def _as_asked(document: Mapping[str, Any], signature: ModelSignature, form: Form, is_kserve: bool) -> ReplyPlan:
    parameters = document.get("parameters") or {}
    accepts_binary = form in (Form.SAGEMAKER_BINARY, Form.KSERVE_BINARY)
    is_binary = parameters.get(BINARY_OUTPUT_PARAMETER, accepts_binary)
    datatypes = {spec.name: spec.datatype for spec in signature.outputs}
    wishes: dict[str, OutputWish] = {}
    for entry in document.get("outputs") or ():
        wishes.setdefault(entry["name"], _wish(entry, datatypes[entry["name"]], accepts_binary))
    otherwise = _AS_BINARY if is_binary else _AS_JSON
    for name, datatype in datatypes.items():
        wish = wishes.get(name) if wishes else otherwise
        is_json = wish is not None and not wish.is_binary and form is not Form.NPY
        if is_json and datatype in kserve_json.WITHOUT_JSON:
            raise InvalidRequest(kserve_json.refusal(datatype, name))
    return ReplyPlan(signature, _is_sagemaker(form, is_kserve), document.get("id", ""), wishes, otherwise)


def raw_plan(signature: ModelSignature, form: Form, is_kserve: bool) -> ReplyPlan:
    """Plan the answer to a raw request: all outputs binary, unless the caller accepts JSON only."""
    if form is Form.JSON:
        return plan({}, signature, form, is_kserve)
    return ReplyPlan(signature, _is_sagemaker(form, is_kserve), otherwise=_AS_BINARY)


def _is_sagemaker(form: Form, is_kserve: bool) -> bool:
    if form is Form.SAGEMAKER_BINARY:
        return True
    return form is not Form.KSERVE_BINARY and not is_kserve


def _wish(entry: Mapping[str, Any], datatype: str, is_binary_by_accept: bool) -> OutputWish:
    name, parameters = entry["name"], entry.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise InvalidRequest(f"'parameters' of output '{name}' must be a JSON object")
    if "shared_memory_region" in parameters:
        raise InvalidRequest(f"output '{name}' is asked for in shared memory, which this server does not offer")
    is_binary = parameters.get("binary_data", is_binary_by_accept)
    if not isinstance(is_binary, bool):
        raise InvalidRequest(f"'binary_data' of output '{name}' must be true or false")
    return OutputWish(is_binary, classification.check(parameters.get("classification", 0), datatype, name))
