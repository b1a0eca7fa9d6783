"""Zero-shot classification as natural language inference: a text is the premise, each label makes a hypothesis.

Pure numpy. Follows the `zero-shot-classification` pipeline of Hugging Face transformers (Yin et al. 2019): with one
true label, the entailment logits of a text compete in a softmax over its labels; with several, each label competes
alone, entailment against contradiction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

import numpy as np
import numpy.typing as npt

DEFAULT_TEMPLATE = "This example is {}."

Floats = npt.NDArray[np.float32]
Cells = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One text and its labels' hypotheses."""

    text: str
    hypotheses: tuple[str, ...]
    is_multi_label: bool


def read_rows(texts: Cells, labels: Cells, templates: Cells | None, multi: Cells | None, max_labels: int) -> list[Row]:
    """Read a request: BYTES [batch, 1], BYTES [batch, labels], BYTES [batch, 1] or None, BOOL [batch, 1] or None.

    Raises:
        ValueError: no labels or too many, a template without a place for the label, text that is not UTF-8.
    """
    batch, count = labels.shape
    if not count:
        raise ValueError("LABELS is empty: send at least one label")
    if count > max_labels:
        raise ValueError(f"LABELS has {count} labels; at most {max_labels} are taken at once")
    premises = decoded(texts, "TEXT")
    names = decoded(labels, "LABELS")
    patterns = [DEFAULT_TEMPLATE] * batch if templates is None else decoded(templates, "HYPOTHESIS_TEMPLATE")
    pieces = {pattern: split_template(pattern) for pattern in set(patterns)}
    flags = np.zeros(batch, np.bool_) if multi is None else multi.reshape(-1)
    return [
        Row(
            premises[row],
            tuple(label.join(pieces[patterns[row]]) for label in names[row * count : (row + 1) * count]),
            bool(flags[row]),
        )
        for row in range(batch)
    ]


def split_template(template: str) -> tuple[str, ...]:
    """The parts of a hypothesis template between the places for the label, which are written `{}` or `{0}`.

    Only these two forms of Python's format language are read: with the others, a template could look into objects or
    ask for gigabytes of padding.

    Raises:
        ValueError: no place for the label, or something else in braces.
    """
    parts, literal, places = [], "", []
    try:
        for text, name, spec, conversion in Formatter().parse(template):
            literal += text
            if name is None:
                continue
            if name not in {"", "0"} or spec or conversion:
                raise ValueError(f"only {{}} stands for the label, not {{{name}}}")
            places.append(name)
            parts.append(literal)
            literal = ""
    except ValueError as error:
        raise ValueError(f"the hypothesis template {_short(template)} cannot be read: {error}") from None
    if not places:
        raise ValueError(f"the hypothesis template {_short(template)} has no {{}} where the label goes")
    if places.count("") > 1 or len(set(places)) > 1:
        raise ValueError(f"the hypothesis template {_short(template)} has several {{}}; write {{0}} in each place")
    return (*parts, literal)


def scores(logits: Floats, *, entailment: int, contradiction: int, is_multi_label: bool) -> Floats:
    """One text's scores, FP32 [labels], from its logits FP32 [labels, classes]."""
    if is_multi_label or len(logits) == 1:
        alone: Floats = _softmax(logits[:, [contradiction, entailment]])[:, 1]
        return alone
    together: Floats = _softmax(logits[None, :, entailment])[0]
    return together


def decoded(cells: Cells, name: str) -> list[str]:
    """The UTF-8 strings of a BYTES tensor, in row-major order. Raises ValueError naming the element."""
    texts: list[str] = []
    for index, cell in enumerate(cells.reshape(-1)):
        try:
            texts.append(cell.decode() if isinstance(cell, bytes) else str(cell))
        except UnicodeDecodeError as error:
            raise ValueError(f"element {index} of {name} is not UTF-8: {error.reason} at byte {error.start}") from error
    return texts


def plan_batches(lengths: Sequence[int], max_rows: int, max_tokens: int) -> list[list[int]]:
    """Group pairs into NLI batches by length: lists of indices into `lengths`, the longest pairs first.

    A batch has at most `max_rows` rows, and rows times its longest pair stays within `max_tokens` (a single row always
    goes). A pair that would be padded to more than twice its length begins a new batch, unless all are short anyway.
    """
    batches: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda each: -lengths[each]):
        length = lengths[index]
        is_room = bool(batches) and len(batches[-1]) < max_rows and (len(batches[-1]) + 1) * longest <= max_tokens
        if is_room and (longest <= _SHORT or 2 * length >= longest):
            batches[-1].append(index)
        else:
            batches.append([index])
            longest = length
    return batches


_SHORT = 32
_SHOWN = 80


def _softmax(values: Floats) -> Floats:
    """Over the last axis."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    normed: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return normed


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
