"""From the rows of all requests in flight to their scores, in few NLI batches. Pure, but for `run_nli`.

Pairs of different requests share batches, and equal pairs are computed once. A batch that fails, or a label that is too
long, takes along only those requests that have a pair in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .logic import Row, plan_batches, scores
from .pairs import Ids, PairTooLong, Tokens

Floats = npt.NDArray[np.float32]
RunNli: TypeAlias = Callable[[Ids, Ids, Ids], Floats]
"""`input_ids`, `attention_mask`, `token_type_ids`, each INT64 [pairs, longest], to logits FP32 [pairs, classes]."""


class NliFailed(Exception):
    """The NLI step answered with an error."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one NLI batch: rows, and rows times the longest pair's tokens (which is what takes memory)."""

    max_rows: int
    max_tokens: int


Outcome: TypeAlias = Floats | PairTooLong | NliFailed
_Pair: TypeAlias = tuple[int, int]


class Scorer:
    """Scores the rows of several requests together."""

    def __init__(self, tokens: Tokens, entailment: int, contradiction: int, limits: Limits) -> None:
        self._tokens = tokens
        self._entailment = entailment
        self._contradiction = contradiction
        self._limits = limits

    def score(self, requests: Sequence[Sequence[Row]], run_nli: RunNli) -> list[Outcome]:
        """Each request's scores, FP32 [rows, labels], or why it has none. All rows of a request have as many labels."""
        work = _Work(self._tokens, [row for rows in requests for row in rows])
        refused = work.measure()
        logits = work.run(run_nli, self._limits)
        outcomes: list[Outcome] = []
        for rows in requests:
            pairs = [[work.pair(row, hypothesis) for hypothesis in row.hypotheses] for row in rows]
            failure = next((refused[h] for each in pairs for _, h in each if h in refused), None) or next(
                (found for each in pairs for pair in each if isinstance(found := logits.get(pair), NliFailed)), None
            )
            outcomes.append(failure or self._scores(rows, pairs, logits))
        return outcomes

    def _scores(
        self, rows: Sequence[Row], pairs: Sequence[Sequence[_Pair]], logits: dict[_Pair, Floats | NliFailed]
    ) -> Floats:
        return np.stack(
            [
                scores(
                    np.stack([np.asarray(logits[pair]) for pair in each]),
                    entailment=self._entailment,
                    contradiction=self._contradiction,
                    is_multi_label=row.is_multi_label,
                )
                for row, each in zip(rows, pairs, strict=True)
            ]
        ).astype(np.float32, copy=False)


class _Work:
    """The different texts, hypotheses and pairs of some rows. A pair is (number of its text, of its hypothesis)."""

    def __init__(self, tokens: Tokens, rows: Sequence[Row]) -> None:
        self._tokens = tokens
        self._rows = rows
        self._texts = {text: number for number, text in enumerate(dict.fromkeys(row.text for row in rows))}
        different = dict.fromkeys(hypothesis for row in rows for hypothesis in row.hypotheses)
        self._hypotheses = {hypothesis: number for number, hypothesis in enumerate(different)}
        self._premise_ids = tokens.premises(list(self._texts))
        self._hypothesis_ids = tokens.hypotheses(list(self._hypotheses))
        self._lengths: dict[_Pair, int] = {}

    def pair(self, row: Row, hypothesis: str) -> _Pair:
        """The pair's number."""
        return self._texts[row.text], self._hypotheses[hypothesis]

    def measure(self) -> dict[int, PairTooLong]:
        """Find all pairs and their lengths; gives the hypotheses that are too long."""
        refused: dict[int, PairTooLong] = {}
        for row in self._rows:
            for hypothesis in row.hypotheses:
                pair = self.pair(row, hypothesis)
                if pair in self._lengths or pair[1] in refused:
                    continue
                try:
                    self._lengths[pair] = self._tokens.length(*self._ids(pair))
                except PairTooLong as error:
                    refused[pair[1]] = error
        return refused

    def run(self, run_nli: RunNli, limits: Limits) -> dict[_Pair, Floats | NliFailed]:
        """Each pair's logits, FP32 [classes], or why its batch failed."""
        pairs, lengths = list(self._lengths), list(self._lengths.values())
        found: dict[_Pair, Floats | NliFailed] = {}
        for batch in plan_batches(lengths, limits.max_rows, limits.max_tokens):
            inputs = self._tokens.batch([self._ids(pairs[each]) for each in batch], [lengths[each] for each in batch])
            try:
                found.update(zip((pairs[each] for each in batch), run_nli(*inputs), strict=True))
            except NliFailed as error:
                found.update((pairs[each], error) for each in batch)
        return found

    def _ids(self, pair: _Pair) -> tuple[Ids, Ids]:
        return self._premise_ids[pair[0]], self._hypothesis_ids[pair[1]]
