"""Sequence classifiers with random weights from a seed: real architectures, for tests, demos and capacity planning.

They are written as checkpoints like any other (`config.json`, `model.safetensors`, `tokenizer.json`), so that what
builds and checks an archive takes the same road as with published weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import click

from builders.checkpoints import fixture_tokenizer
from builders.pipeline.extras import need

Architecture: TypeAlias = Literal["bart", "roberta", "deberta"]
Size: TypeAlias = Literal["tiny", "base", "large"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
SIZES: tuple[Size, ...] = get_args(Size)

NLI_LABELS: Mapping[Architecture, tuple[str, ...]] = MappingProxyType(
    {
        "bart": ("contradiction", "neutral", "entailment"),
        "roberta": ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"),
        "deberta": ("entailment", "neutral", "contradiction"),
    }
)
"""In the order of the best known checkpoint of each architecture."""

_TINY_LENGTH = 128
_TINY_SPREAD = 0.3
"""Of tiny weights: with the usual 0.02 all texts would get nearly the same scores, and parity would prove little."""


@dataclass(frozen=True, slots=True)
class RandomClassifier:
    """Which one to make."""

    architecture: Architecture = "bart"
    size: Size = "tiny"
    seed: int = 0
    labels: Sequence[str] = ()


def write(wanted: RandomClassifier, to: Path) -> Path:
    """Write the checkpoint into the folder `to`; returns it.

    Raises:
        click.BadParameter: fewer than two labels.
    """
    if len(wanted.labels) < 2:
        raise click.BadParameter("a classifier with random weights needs at least two labels (--labels a,b)")
    torch, transformers = need("torch"), need("transformers")
    kind: fixture_tokenizer.Kind = "unigram" if wanted.architecture == "deberta" else "byte-level-bpe"
    length = _TINY_LENGTH if wanted.size == "tiny" else 1024 if wanted.architecture == "bart" else 512
    tokenizer = fixture_tokenizer.make(kind, length)
    settings = {
        **_settings(wanted, length, len(tokenizer)),
        "id2label": dict(enumerate(wanted.labels)),
        "label2id": {label: index for index, label in enumerate(wanted.labels)},
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
    }
    names = {"bart": "Bart", "roberta": "Roberta", "deberta": "DebertaV2"}[wanted.architecture]
    config = getattr(transformers, f"{names}Config")(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(wanted.seed)
        model = getattr(transformers, f"{names}ForSequenceClassification")(config)
    model.save_pretrained(to)
    tokenizer.save_pretrained(to)
    return to


def _settings(wanted: RandomClassifier, length: int, vocabulary: int) -> dict[str, Any]:
    is_tiny = wanted.size == "tiny"
    if wanted.architecture == "bart":
        return _bart(wanted.size, length, vocabulary)
    layers, width, heads = {"tiny": (2, 32, 4), "base": (12, 768, 12), "large": (24, 1024, 16)}[wanted.size]
    shared = {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "initializer_range": _TINY_SPREAD if is_tiny else 0.02,
    }
    if wanted.architecture == "roberta":
        return {
            **shared,
            "vocab_size": vocabulary if is_tiny else 50265,
            "max_position_embeddings": length + 2,
            "type_vocab_size": 1,
            "layer_norm_eps": 1e-5,
        }
    return {  # DeBERTa-v3's own settings
        **shared,
        "vocab_size": vocabulary if is_tiny else 128100,
        "max_position_embeddings": length,
        "type_vocab_size": 0,
        "position_biased_input": False,
        "relative_attention": True,
        "position_buckets": 16 if is_tiny else 256,
        "max_relative_positions": -1,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "pooler_dropout": 0.0,
        "pooler_hidden_size": width,
        "layer_norm_eps": 1e-7,
    }


def _bart(size: Size, length: int, vocabulary: int) -> dict[str, Any]:
    layers, width, heads = {"tiny": (2, 32, 4), "base": (6, 768, 12), "large": (12, 1024, 16)}[size]
    return {
        "encoder_layers": layers,
        "decoder_layers": layers,
        "d_model": width,
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "encoder_ffn_dim": 4 * width,
        "decoder_ffn_dim": 4 * width,
        "vocab_size": vocabulary if size == "tiny" else 50265,
        "max_position_embeddings": length,
        "init_std": _TINY_SPREAD if size == "tiny" else 0.02,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": 2,
    }
