"""Sequence-classification checkpoints of Hugging Face transformers: BART, RoBERTa, DeBERTa, BERT, DistilBERT, ...

The checkpoint's own files decide: labels, what turns logits into scores, the longest text, and which inputs it takes.
"""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from builders.checkpoints.files import UnusableCheckpoint, licence
from builders.pipeline.extras import need

Function: TypeAlias = Literal["softmax", "sigmoid", "none"]
INPUTS = ("input_ids", "attention_mask", "token_type_ids")

_COUNTED_FROM_PAD = frozenset(
    {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "longformer", "mpnet", "xmod"}
)
"""These number positions from pad_token_id + 1, so that as many fewer tokens fit."""
_LONGEST = 1 << 20
"""A tokenizer without a limit says some 10^30."""


@dataclass(frozen=True, slots=True)
class ClassifierCheckpoint:
    """What the checkpoint's own files say.

    `labels` by class id; `inputs` are those of `INPUTS` that its tokenizer gives and its model takes; `max_length`
    counts special tokens; `function` is what its pipeline applies to logits.
    """

    folder: Path
    name: str
    architecture: str
    labels: tuple[str, ...]
    function: Function
    max_length: int
    inputs: tuple[str, ...]
    pad_id: int
    pad_token: str
    licence: str


def read(model: str) -> ClassifierCheckpoint:
    """Find a checkpoint (a folder, or a hub id, which is downloaded) and read it.

    Raises:
        UnusableCheckpoint: it is not there, is not a sequence classifier, or has no fast tokenizer.
    """
    folder = locate(model)
    transformers = need("transformers")
    try:
        config = transformers.AutoConfig.from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # the library raises whatever its parsers raise
        raise UnusableCheckpoint(f"{model} is not a checkpoint that transformers reads: {error}") from error
    _require_classifier(model, config)
    if not getattr(tokenizer, "is_fast", False):
        raise UnusableCheckpoint(f"{model} has no fast tokenizer (tokenizer.json), which the server needs")
    if tokenizer.pad_token is None:
        raise UnusableCheckpoint(f"{model}: its tokenizer has no padding token, so texts cannot share a batch")
    return ClassifierCheckpoint(
        folder=folder,
        name=folder.name if Path(model).is_dir() else model,
        architecture=str(config.model_type),
        labels=tuple(str(config.id2label[index]) for index in range(config.num_labels)),
        function=_function(config),
        max_length=_max_length(config, tokenizer),
        inputs=_inputs(transformers, config, tokenizer),
        pad_id=int(tokenizer.pad_token_id),
        pad_token=str(tokenizer.pad_token),
        licence=licence(folder),
    )


def locate(model: str) -> Path:
    """The folder of a checkpoint: a local one, or a hub id's, downloaded. Raises UnusableCheckpoint."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise UnusableCheckpoint(f"{model!r} is neither a folder nor a hub id like `facebook/bart-large-mnli`")
    hub = need("huggingface_hub")
    patterns = ["*.json", "*.txt", "*.model", "*.safetensors", "*.md"]
    try:
        found = Path(hub.snapshot_download(model, allow_patterns=patterns))
        if not any(found.glob("*.safetensors")):  # an older checkpoint
            found = Path(hub.snapshot_download(model, allow_patterns=[*patterns, "pytorch_model*.bin"]))
    except Exception as error:
        raise UnusableCheckpoint(
            f"{model!r} could not be fetched from the hub ({error}); give a local folder instead"
        ) from error
    return found


def load(checkpoint: ClassifierCheckpoint) -> Any:
    """The reference model: FP32, in eval mode."""
    torch, transformers = need("torch"), need("transformers")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint.folder, dtype=torch.float32)
    return model.eval()


def save_tokenizer(checkpoint: ClassifierCheckpoint, to: Path) -> None:
    """Write `tokenizer.json` as it is, without truncation or padding."""
    tokenizer = need("transformers").AutoTokenizer.from_pretrained(checkpoint.folder).backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(to), pretty=False)


def _require_classifier(model: str, config: Any) -> None:
    architectures = list(config.architectures or ())
    if not any(name.endswith("ForSequenceClassification") for name in architectures):
        raise UnusableCheckpoint(
            f"{model} is {architectures or 'a model of no known kind'}, not a ...ForSequenceClassification"
        )


def _function(config: Any) -> Function:
    """What transformers' text-classification pipeline applies where a caller does not say."""
    if config.problem_type == "regression":
        return "none"
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return "sigmoid"
    return "softmax"


def _max_length(config: Any, tokenizer: Any) -> int:
    """The most tokens: what the tokenizer says, and no more than the model has positions for."""
    positions = int(getattr(config, "max_position_embeddings", 0) or 0)
    if positions and config.model_type in _COUNTED_FROM_PAD:
        positions -= int(config.pad_token_id) + 1
    said = int(min(tokenizer.model_max_length, _LONGEST))
    known = [limit for limit in (positions, said) if 0 < limit < _LONGEST]
    return min(known, default=512)


def _inputs(transformers: Any, config: Any, tokenizer: Any) -> tuple[str, ...]:
    model_class = transformers.AutoModelForSequenceClassification._model_mapping[type(config)]
    takes = inspect.signature(model_class.forward).parameters
    return tuple(name for name in INPUTS if name in tokenizer.model_input_names and name in takes)
