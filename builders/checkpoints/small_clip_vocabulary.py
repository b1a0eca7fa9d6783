"""A small byte-level BPE vocabulary in CLIP's form, learnt from the text below: for models with random weights.

Real checkpoints bring CLIP's own 49,408 entries. Learning takes the most frequent pair, then the first in the
alphabet, so it always gives the same vocabulary. Source of the method: Sennrich et al. 2016; of the form: CLIP's
`simple_tokenizer.py`, where a word's last byte has the suffix `</w>`.
"""

from collections import Counter
from functools import cache
from itertools import pairwise
from typing import Final

_END: Final = "</w>"
_MERGES: Final = 200
_TEXT: Final = """
a photo of a red bicycle in front of a blue wall a painting of a harbour at sunset with boats and seagulls
a bottle of perfume on a marble table soft light studio photograph high quality sharp focus detailed
an old locomotive on a turntable in front of a roundhouse in the morning fog black and white photograph
a portrait of a woman with a hat in the style of a watercolour low quality blurry bad anatomy text watermark
the product on a wooden table in a sunny kitchen with green plants in the background wide angle photograph
"""


@cache
def merges() -> list[tuple[str, str]]:
    """Pairs of pieces in the order they are joined."""
    words = Counter((*word[:-1], word[-1] + _END) for word in _TEXT.split())
    learnt: list[tuple[str, str]] = []
    for _ in range(_MERGES):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        learnt.append(best)
        joined: Counter[tuple[str, ...]] = Counter()
        for word, count in words.items():
            joined[_join(word, best)] += count
        words = joined
    return learnt


@cache
def vocabulary() -> dict[str, int]:
    """Numbers of all pieces: bytes, bytes that end a word, joined pairs, and the two marks."""
    single = _byte_characters()
    pieces = [*single, *(character + _END for character in single), *("".join(pair) for pair in merges())]
    return {piece: number for number, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}


def _join(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    pieces: list[str] = []
    place = 0
    while place < len(word):
        if word[place : place + 2] == pair:
            pieces.append("".join(pair))
            place += 2
        else:
            pieces.append(word[place])
            place += 1
    return tuple(pieces)


def _byte_characters() -> list[str]:
    """One printable character per byte, as byte-level BPE writes them."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(code) for code in [*printable, *(256 + index for index in range(len(others)))]]
