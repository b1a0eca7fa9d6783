"""Premise and hypothesis to the token ids of a pair. Needs `tokenizers` and numpy.

Texts and hypotheses are tokenised each once and joined here, so that N texts with M labels cost N + M tokenisations
instead of N x M; hypotheses are remembered, because the same labels come again with every request.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

Ids = npt.NDArray[np.int64]
_MEMORY = 2_000_000  # ids and characters: some 20 MB


class PairTooLong(ValueError):
    """A hypothesis that leaves no room for the text."""


class Tokens:
    """Tokenises texts and hypotheses, and joins them as the checkpoint's tokenizer joins pairs."""

    def __init__(self, folder: Path, max_length: int, pad_id: int, memory: int = _MEMORY) -> None:
        """`folder` holds `tokenizer.json`; `max_length` counts the special tokens as well."""
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._max_length = max_length
        self._pad_id = pad_id
        self._memory = memory
        self._remembered: OrderedDict[str, Ids] = OrderedDict()
        self._kept = 0
        self._learn_specials()

    def _learn_specials(self) -> None:
        """Find the special tokens around a pair, by looking at one."""
        encoding = self._tokenizer.encode("a", "b")
        owners = encoding.sequence_ids
        first, second = owners.index(0), owners.index(1)
        ends = len(owners) - owners[::-1].index(0), len(owners) - owners[::-1].index(1)
        if second < first:
            raise ValueError("the tokenizer puts the second text of a pair first")
        ids = np.array(encoding.ids, np.int64)
        self._before, self._between, self._after = ids[:first], ids[ends[0] : second], ids[ends[1] :]
        types = encoding.type_ids
        self._first_type, self._second_type = types[first], types[second]
        self._type_of_specials = types[:first], types[ends[0] : second], types[ends[1] :]
        self._specials = len(ids) - (ends[0] - first) - (ends[1] - second)

    def premises(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text without special tokens, cut to what could ever fit."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids[: self._max_length], np.int64) for encoding in encodings]

    def hypotheses(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each hypothesis without special tokens; those seen lately are not tokenised again."""
        missing = list(dict.fromkeys(text for text in texts if text not in self._remembered))
        new: dict[str, Ids] = {}
        if missing:
            encodings = self._tokenizer.encode_batch_fast(missing, add_special_tokens=False)
            new = {text: np.array(each.ids, np.int64) for text, each in zip(missing, encodings, strict=True)}
        found = []
        for text in texts:
            ids = new.get(text)
            if ids is None:
                ids = self._remembered[text]
                self._remembered.move_to_end(text)
            found.append(ids)
        self._remember(new)
        return found

    def _remember(self, new: dict[str, Ids]) -> None:
        for text, ids in new.items():
            self._remembered[text] = ids
            self._kept += len(ids) + len(text)
        while self._kept > self._memory:
            text, ids = self._remembered.popitem(last=False)
            self._kept -= len(ids) + len(text)

    def length(self, premise: Ids, hypothesis: Ids) -> int:
        """The length of the pair with its special tokens; only the premise is cut.

        Raises:
            PairTooLong: the hypothesis alone is too long.
        """
        whole = self._specials + len(hypothesis) + len(premise)
        least = self._specials + len(hypothesis) + min(1, len(premise))
        if least > self._max_length:
            raise PairTooLong(
                f"a label makes a hypothesis of {len(hypothesis)} tokens, which leaves no room for the text: "
                f"the model takes {self._max_length} tokens, {self._specials} of them its own"
            )
        return min(whole, self._max_length)

    def batch(self, pairs: Sequence[tuple[Ids, Ids]], lengths: Sequence[int]) -> tuple[Ids, Ids, Ids]:
        """`input_ids`, `attention_mask` and `token_type_ids` of pairs with those lengths: INT64 [pairs, longest]."""
        shape = len(pairs), max(lengths)
        ids, mask, types = np.full(shape, self._pad_id, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, ((premise, hypothesis), length) in enumerate(zip(pairs, lengths, strict=True)):
            kept = premise[: length - self._specials - len(hypothesis)]
            ids[row, :length] = np.concatenate([self._before, kept, self._between, hypothesis, self._after])
            mask[row, :length] = 1
            if self._second_type:
                before, between, after = self._type_of_specials
                sides = [self._first_type] * len(kept), [self._second_type] * len(hypothesis)
                types[row, :length] = [*before, *sides[0], *between, *sides[1], *after]
        return ids, mask, types
