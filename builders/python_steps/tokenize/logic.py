"""Text to token ids, padded to the longest text of a request. Pure: needs `tokenizers` and numpy, no Triton."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

Ids = npt.NDArray[np.int64]


def load(folder: Path) -> Tokenizer:
    """Read `tokenizer.json`; its truncation and padding were set from the checkpoint's own files at build time."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def decode_texts(cells: npt.NDArray[np.object_]) -> list[str]:
    """UTF-8 strings of a BYTES tensor of any shape, in row-major order.

    Raises:
        ValueError: names the element that is not UTF-8.
    """
    texts: list[str] = []
    for index, cell in enumerate(cells.reshape(-1)):
        try:
            texts.append(cell.decode() if isinstance(cell, bytes) else str(cell))
        except UnicodeDecodeError as error:
            raise ValueError(f"text {index} is not UTF-8: {error.reason} at byte {error.start}") from error
    return texts


def tokenize(tokenizer: Tokenizer, texts: list[str]) -> tuple[Ids, Ids, Ids]:
    """Token ids, attention mask and token type ids, each INT64 [len(texts), longest]."""
    encodings = tokenizer.encode_batch_fast(texts)
    return (
        np.array([encoding.ids for encoding in encodings], dtype=np.int64),
        np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64),
        np.array([encoding.type_ids for encoding in encodings], dtype=np.int64),
    )
