"""Zero-shot classification as Hugging Face's containers take it, answered as transformers' pipeline answers.

    {"inputs": "text" or ["text", ...],
     "parameters": {"candidate_labels": ["a", "b"] or "a, b", "multi_label": false, "hypothesis_template": "..."}}

The parameters may also stand beside `inputs`. The answer to one text is {"sequence", "labels", "scores"}, labels sorted
by score; to a list of texts a list of them. Texts become rows of one batch, each with all the labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from server.codecs.http import media_type
from server.codecs.http.media_type import MediaType
from server.codecs.kserve import bytes_elements, kserve_json
from server.codecs.tasks.outputs import output
from server.codecs.tasks.task import Asked, Task
from server.codecs.text import json_task
from server.domain.errors import InferenceFailed, InvalidRequest, UnsupportedMediaType
from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.domain.model import StagedArchive
from server.domain.payload import Answer, Payload

NAME: Final = "zero-shot-classification"
MAX_CELLS: Final = 1 << 18
"""Texts times labels of one request: each is a run of the model, so this is hours of work already."""

_TEMPLATE: Final = "This example is {}."
_PARAMETERS: Final = ("candidate_labels", "multi_label", "hypothesis_template")
_EXAMPLE: Final = '{"inputs": "text", "parameters": {"candidate_labels": ["label", ...]}}'


@dataclass(frozen=True, slots=True)
class _Memo:
    """What the answer repeats of the question."""

    texts: Sequence[str]
    labels: Sequence[str]
    is_list: bool


def _read_json(document: Any, _payload: Payload, archive: StagedArchive) -> Asked | None:
    if not _takes_labels(archive) or not json_task.is_task(document):
        return None
    inputs = document["inputs"]
    texts = _strings([inputs] if isinstance(inputs, str) else inputs, "'inputs'")
    said = _parameters(document)
    labels = _labels(said.get("candidate_labels"))
    multi = said.get("multi_label", False)
    template = said.get("hypothesis_template", _TEMPLATE)
    if not isinstance(multi, bool):
        raise InvalidRequest("'multi_label' must be true or false")
    if not isinstance(template, str):
        raise InvalidRequest("'hypothesis_template' must be a string")
    _check_counts(texts, labels, archive)
    request = InferenceRequest(
        {
            "TEXT": _bytes("TEXT", [[text] for text in texts], "'inputs'"),
            "LABELS": _repeated("LABELS", labels, len(texts), "'candidate_labels'"),
            "HYPOTHESIS_TEMPLATE": _repeated("HYPOTHESIS_TEMPLATE", [template], len(texts), "'hypothesis_template'"),
            "MULTI_LABEL": Tensor("MULTI_LABEL", "BOOL", np.full((len(texts), 1), multi)),
        }
    )
    return Asked(request, _Memo(texts, labels, is_list=not isinstance(inputs, str)))


def _write_json(response: InferenceResponse, asked: Asked, _archive: StagedArchive) -> Answer:
    memo: _Memo = asked.memo
    scores = output(response, "SCORES")
    if scores.shape != (len(memo.texts), len(memo.labels)):
        raise InferenceFailed(
            f"the model gave SCORES of shape {list(scores.shape)} "
            f"for {len(memo.texts)} texts and {len(memo.labels)} labels"
        )
    answers = []
    for text, row in zip(memo.texts, scores, strict=True):
        order = row.argsort()[::-1]  # ties as in the reference
        answers.append({"sequence": text, "labels": [memo.labels[each] for each in order], "scores": row[order]})
    return Answer((kserve_json.dump(answers if memo.is_list else answers[0]),), media_type.JSON)


def _refuse_plain(payload: Payload, _content: MediaType, archive: StagedArchive) -> None:
    if _takes_labels(archive) and not bytes(payload.body[:64]).lstrip().startswith(b"{"):  # JSON under another name
        raise UnsupportedMediaType(
            f"text/plain carries no labels, which archive '{archive.name}' needs; send JSON: {_EXAMPLE}"
        )


def _takes_labels(archive: StagedArchive) -> bool:
    """Whether the archive has this task's public face, whatever its manifest says."""
    names = {spec.name for spec in archive.signature.inputs}
    return archive.signature.is_batched and {"TEXT", "LABELS", "HYPOTHESIS_TEMPLATE", "MULTI_LABEL"} <= names


def _parameters(document: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = document.get("parameters")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise InvalidRequest("'parameters' must be a JSON object")
    unknown = sorted(parameters.keys() - set(_PARAMETERS))
    if unknown:
        raise InvalidRequest(f"parameter {unknown[0]!r} is not known here; known are {', '.join(_PARAMETERS)}")
    beside = {name: document[name] for name in _PARAMETERS if name in document}
    return {name: value for name, value in {**beside, **parameters}.items() if value is not None}


def _labels(given: object) -> list[str]:
    if given is None:
        raise InvalidRequest(f"'candidate_labels' is missing: send {_EXAMPLE}")
    if isinstance(given, str):
        given = [label.strip() for label in given.split(",") if label.strip()]
    if not isinstance(given, list):
        raise InvalidRequest("'candidate_labels' must be a list of strings, or one string with commas")
    if not given:
        raise InvalidRequest("'candidate_labels' is empty; send at least one label")
    return _strings(given, "'candidate_labels'")


def _strings(values: Sequence[object], where: str) -> list[str]:
    texts: list[str] = []
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise InvalidRequest(f"{where} must hold strings; entry {index} is not one")
        texts.append(value)
    return texts


def _check_counts(texts: Sequence[str], labels: Sequence[str], archive: StagedArchive) -> None:
    most = archive.signature.max_batch_size
    if not texts:
        raise InvalidRequest("'inputs' is empty; send at least one text")
    if "" in texts:
        raise InvalidRequest(f"'inputs' has an empty text (entry {texts.index('')}), about which nothing can be said")
    if len(texts) > most:
        raise InvalidRequest(
            f"the request has {len(texts)} texts, but archive '{archive.name}' takes at most {most} at once"
        )
    if len(texts) * len(labels) > MAX_CELLS:
        raise InvalidRequest(
            f"{len(texts)} texts with {len(labels)} labels are more than {MAX_CELLS} pairs; send fewer at once"
        )


def _repeated(name: str, values: Sequence[str], rows: int, where: str) -> Tensor:
    """The same row of strings for every text."""
    one = _bytes(name, [values], where)
    return Tensor(name, "BYTES", np.repeat(one.data, rows, axis=0))


def _bytes(name: str, rows: Sequence[Sequence[str]], where: str) -> Tensor:
    try:
        elements = [text.encode() for row in rows for text in row]
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{where} has a string that is not Unicode text: {error.reason}") from error
    return Tensor(name, "BYTES", bytes_elements.object_array(elements, (len(rows), len(rows[0]))))


TASK: Final = Task(
    NAME,
    read_json=_read_json,
    reads=MappingProxyType({media_type.TEXT: _refuse_plain}),
    writes=MappingProxyType({media_type.JSON: _write_json}),
)
