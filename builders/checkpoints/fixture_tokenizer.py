"""Small real tokenizers for checkpoints with random weights: trained here, in a moment, the same each time.

A byte-level BPE as BART and RoBERTa have, and a unigram model on sentence pieces as DeBERTa-v3 has. Their vocabularies
are small; everything else (special tokens, pairs, bytes of any script) is as in the real ones.
"""

import math
from collections import Counter
from typing import Any, Literal, TypeAlias

from builders.pipeline.extras import need

Kind: TypeAlias = Literal["byte-level-bpe", "unigram"]
_VOCABULARY = 480
_LONGEST_PIECE = 6

_SENTENCES = (
    "A man is eating food at a table in the garden.",
    "The quarterly report shows that revenue grew while costs fell.",
    "I have a problem with my phone that needs to be resolved as soon as possible!",
    "The goalkeeper saved a penalty in the last minute of the match.",
    "Scientists have found water on a planet outside our solar system.",
    "This example is about politics, sports, science, music or cooking.",
    "The minister resigned after the vote in parliament.",
    "She plays the violin in an orchestra and teaches children on weekends.",
    "Please return the parcel, the screen is broken and the box was open.",
    "Prices of oil and gas rose again because of the cold winter.",
    "The new train connects the two cities in less than an hour.",
    "What a wonderful film, the actors were great and the story was moving.",
    "The food was cold, the waiter was rude, and we waited for an hour.",
    "A roundhouse holds many locomotives around one turntable.",
    "How many models can one computer serve if most of them are idle?",
    "The patient was given antibiotics and went home after three days.",
    "Numbers such as 1,234.56 and dates such as 22 November 2026 are words, too.",
    "Travel, health, finance, technology and education are topics of news.",
)


def make(kind: Kind, max_length: int) -> Any:
    """A fast tokenizer of transformers with that vocabulary, ready to be saved in a checkpoint."""
    tokenizers, transformers = need("tokenizers"), need("transformers")
    build = _byte_level_bpe if kind == "byte-level-bpe" else _unigram
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=build(tokenizers), model_max_length=max_length, **_SPECIALS[kind]
    )


_SPECIALS: dict[Kind, dict[str, Any]] = {
    "byte-level-bpe": {
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        "model_input_names": ["input_ids", "attention_mask"],
    },
    "unigram": {
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "mask_token": "[MASK]",
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
    },
}


def _byte_level_bpe(tokenizers: Any) -> Any:
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.train_from_iterator(
        _SENTENCES,
        tokenizers.trainers.BpeTrainer(
            vocab_size=_VOCABULARY,
            special_tokens=specials,
            initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = tokenizers.processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return tokenizer


def _unigram(tokenizers: Any) -> Any:
    specials = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    vocabulary = [(special, 0.0) for special in specials] + _pieces(_VOCABULARY - len(specials))
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(vocabulary, unk_id=specials.index("[UNK]")))
    tokenizer.normalizer = tokenizers.normalizers.NFKC()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    tokenizer.add_special_tokens(specials)
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return tokenizer


def _pieces(count: int) -> list[tuple[str, float]]:
    """Characters and frequent pieces of words, with the logarithms of their shares.

    Counted instead of trained: the library's trainer for unigram models gives other numbers each time.
    """
    words = [f"\N{LOWER ONE EIGHTH BLOCK}{word}" for sentence in _SENTENCES for word in sentence.split()]
    counts = Counter(
        word[start:end]
        for word in words
        for start in range(len(word))
        for end in range(start + 1, min(len(word), start + _LONGEST_PIECE) + 1)
    )
    letters = {piece: number for piece, number in counts.items() if len(piece) == 1}
    longer = [(piece, number) for piece, number in counts.items() if len(piece) > 1]
    longer.sort(key=lambda each: (-each[1] * len(each[0]), each[0]))
    chosen = {**dict(sorted(letters.items())), **dict(longer[: count - len(letters)])}
    total = sum(chosen.values())
    return [(piece, math.log(number / total)) for piece, number in chosen.items()]
