"""Text classification as Hugging Face's containers take it, answered as transformers' pipeline answers.

    {"inputs": "text" or ["text", ...], "parameters": {"top_k": 3, "function_to_apply": "sigmoid"}}

Without `top_k`: the best label of each text, [{"label", "score"}, ...] (for one text as well). With it: the best
`top_k` (null: all) of one text as a list, of several as a list of lists. `text/plain` is one text.

A cascade (outputs FIRED, FINE_SCORES) answers with the fine labels where its second stage ran, else with the first's.
An archive of this task without these outputs is an ordinary text archive: see `texts.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from server.codecs.http import media_type
from server.codecs.http.media_type import MediaType
from server.codecs.kserve import kserve_json
from server.codecs.tasks import texts
from server.codecs.tasks.task import Asked, Task
from server.codecs.text import json_task, plain, text_input
from server.domain.errors import InferenceFailed, InvalidRequest
from server.domain.inference import Array, InferenceRequest, InferenceResponse
from server.domain.model import StagedArchive, TensorSpec
from server.domain.payload import Answer, Payload

NAME: Final = "text-classification"

_FUNCTIONS: Final = ("softmax", "sigmoid", "none")
_FIRED: Final = "FIRED"
_FINE: Final = "FINE_"


@dataclass(frozen=True, slots=True)
class _Wish:
    """How the answer is wanted. `function` "" takes the scores as the model gives them."""

    top_k: int | None = 1
    is_plain: bool = True
    """Whether `top_k` was not mentioned: then each text has one label, not a list of them."""
    is_list: bool = False
    function: str = ""


def _read_json(document: Any, payload: Payload, archive: StagedArchive) -> Asked | None:
    spec = _text_spec(archive)
    if spec is None:
        return texts.TASK.read_json(document, payload, archive)
    if not json_task.is_task(document):
        return None
    wish = _wish(document)
    request = json_task.decode({"inputs": document["inputs"]}, spec, archive)
    return _asked(request, wish, archive)


def _read_plain(payload: Payload, content: MediaType, archive: StagedArchive) -> Asked | None:
    spec = _text_spec(archive)
    if spec is None:
        return texts.TASK.reads[media_type.TEXT](payload, content, archive)
    if texts._is_kserve(payload.body):
        return None
    charset = content.parameters.get("charset", "utf-8")
    return _asked(plain.decode(bytes(payload.body), charset, spec, archive), _Wish(), archive)


def _write_json(response: InferenceResponse, asked: Asked, archive: StagedArchive) -> Answer:
    if asked.memo is None:
        return texts.TASK.writes[media_type.JSON](response, asked, archive)
    wish: _Wish = asked.memo
    given = {tensor.name: tensor.data for tensor in response.outputs}
    labels = {spec.name: spec.labels for spec in archive.signature.outputs}
    kind = "LOGITS" if wish.function else "SCORES"
    coarse, fine = given[kind], given.get(_FINE + kind)
    fired = given[_FIRED].reshape(-1) if _FIRED in given else np.zeros(len(coarse), np.bool_)
    answers = []
    for row, has_fired in enumerate(fired):
        values, names = (
            (fine, labels[_FINE + "SCORES"]) if has_fired and fine is not None else (coarse, labels["SCORES"])
        )
        answers.append(_best(_applied(values[row], wish.function), names, wish))
    document = answers if wish.is_list or wish.is_plain else answers[0]
    return Answer((kserve_json.dump(document),), media_type.JSON)


def _best(scores: Array, labels: Sequence[str], wish: _Wish) -> object:
    if len(labels) != len(scores):
        raise InferenceFailed(f"the model gave {len(scores)} scores, but its label file has {len(labels)} labels")
    if wish.is_plain:
        best = int(scores.argmax())
        return {"label": labels[best], "score": scores[best]}
    order = np.argsort(-scores, kind="stable")[: wish.top_k]
    return [{"label": labels[each], "score": scores[each]} for each in order]


def _applied(values: Array, function: str) -> Array:
    if function == "softmax":
        powers = np.exp(values - values.max())
        return np.asarray(powers / powers.sum())
    if function == "sigmoid":
        with np.errstate(over="ignore"):
            return np.asarray(1.0 / (1.0 + np.exp(-values)))
    return values


def _asked(request: InferenceRequest, wish: _Wish, archive: StagedArchive) -> Asked:
    """Ask for no more outputs than the answer needs."""
    wanted = (kind := "LOGITS" if wish.function else "SCORES", _FINE + kind, _FIRED)
    outputs = tuple(spec.name for spec in archive.signature.outputs if spec.name in wanted)
    return Asked(InferenceRequest(request.inputs, outputs), wish)


def _text_spec(archive: StagedArchive) -> TensorSpec | None:
    """The archive's text input, where it has this task's public face; else its payloads are those of any text model."""
    outputs = {spec.name: spec for spec in archive.signature.outputs}
    has_face = {"SCORES", "LOGITS"} <= outputs.keys() and bool(outputs["SCORES"].labels)
    return text_input.text_input(archive.signature) if has_face else None


def _wish(document: Mapping[str, Any]) -> _Wish:
    parameters = document.get("parameters")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise InvalidRequest("'parameters' must be a JSON object")
    unknown = sorted(parameters.keys() - {"top_k", "function_to_apply"})
    if unknown:
        raise InvalidRequest(f"parameter {unknown[0]!r} is not known here; known are top_k and function_to_apply")
    top_k, function = parameters.get("top_k"), parameters.get("function_to_apply")
    if top_k is not None and (type(top_k) is not int or top_k < 1):
        raise InvalidRequest("'top_k' must be a whole number from 1, or null for all labels")
    if function is not None and function not in _FUNCTIONS:
        raise InvalidRequest(f"'function_to_apply' must be one of {', '.join(_FUNCTIONS)}")
    is_plain = "top_k" not in parameters
    return _Wish(
        1 if is_plain else top_k, is_plain, is_list=isinstance(document["inputs"], list), function=function or ""
    )


TASK: Final = Task(
    NAME,
    read_json=_read_json,
    reads=MappingProxyType({media_type.TEXT: _read_plain}),
    writes=MappingProxyType({media_type.JSON: _write_json}),
)
