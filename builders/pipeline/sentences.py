"""Made-up texts to compare two forms of one model on: varied, and the same each time. Pure.

Half of them are made like English sentences, half are words of the tokenizer's own vocabulary in any order: the ones
are what a model is for, the others find what it is not used to, in every language.
"""

import random
from collections.abc import Collection, Sequence
from typing import Final

_FEWEST_WORDS: Final = 5
_MOST_WORDS: Final = 58
_LEAST_LETTERS: Final = 3
_VOCABULARY: Final = 12_000
"""Vocabularies begin with their frequent words."""

_WHO: Final = (
    "the night train", "a young engineer", "our neighbour", "the city council", "every second customer", "my sister",
    "an old locomotive", "the research group", "a small bakery", "the minister of transport", "nobody in the village",
    "the goalkeeper", "a flock of geese", "the insurance company", "two retired teachers", "the patient in room twelve",
    "a delayed parcel", "the orchestra", "this new database", "the port of Hamburg", "Dr. Okafor", "a curious child",
)  # fmt: skip
_DOES: Final = (
    "arrived late at", "has been repairing", "refused to pay for", "quietly left", "will inspect", "praised",
    "bought three shares of", "cannot explain", "was photographed near", "hardly ever mentions", "sold", "flew over",
    "is responsible for", "wrote a long letter about", "complained about", "invested in", "forgot", "rebuilt",
    "measured the temperature of", "voted against", "discovered", "waited forty minutes for",
)  # fmt: skip
_WHAT: Final = (
    "the turntable", "a broken violin", "its own budget", "the harbour crane", "seven wooden chairs", "a used bicycle",
    "the vaccine trial", "an unpaid invoice", "the second half of the match", "a bowl of onion soup", "interest rates",
    "the northern railway line", "an encrypted archive", "a field of sunflowers", "the final exam", "Jupiter's moons",
    "the kitchen window", "a lost passport", "the quarterly report", "an empty theatre", "their first contract",
)  # fmt: skip
_WHEN: Final = (
    "in the spring of 1987", "last Tuesday", "before the rain began", "for no obvious reason", "at 6:45 a.m.",
    "after a short discussion", "although it was forbidden", "with a budget of $2,400", "as soon as the doors opened",
    "in less than an hour", "without telling anybody", "because prices had risen by 3.5 %", "during the strike",
)  # fmt: skip
_JOINTS: Final = (", and ", ", while ", "; ", ", but ", ", so that ", ". ", "? ", ": ")


def texts(count: int, vocabulary: Collection[str] = (), seed: int = 1) -> list[str]:
    """So many different texts of 5 to 58 words; `vocabulary` are a tokenizer's pieces, most frequent first."""
    choose = random.Random(seed)  # noqa: S311 - nobody's secret
    words = _words(vocabulary)
    found: dict[str, None] = {}
    while len(found) < count:
        length = choose.randint(_FEWEST_WORDS, _MOST_WORDS)
        is_made = not words or len(found) % 2 == 0
        found[_sentences(choose, length) if is_made else " ".join(choose.choice(words) for _ in range(length))] = None
    return list(found)


def _sentences(choose: random.Random, length: int) -> str:
    text = ""
    while len(text.split()) < length:
        part = " ".join(choose.choice(each) for each in (_WHO, _DOES, _WHAT, _WHEN))
        text = text + choose.choice(_JOINTS) + part if text else part
    return text[0].upper() + " ".join(text.split()[:length])[1:] + choose.choice((".", "!", "?", ""))


def _words(vocabulary: Collection[str]) -> Sequence[str]:
    """The pieces that are words: without the marks of blanks, nothing that continues a word, no special tokens."""
    bare = (piece.lstrip("\u2581\u0120") for piece in list(vocabulary)[:_VOCABULARY])
    return sorted({word for word in bare if len(word) >= _LEAST_LETTERS and word.isalpha()})
