"""A sequence classifier of transformers as ONNX: token ids in, logits (and scores) out.

BART reads its answer at the last end-of-sentence token, which transformers finds with a boolean mask: that makes a
graph whose rows must all hold equally many such tokens, which a user's text can break, and which TensorRT cannot
compile. Here the position is computed from the attention mask, with the same result.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builders.checkpoints.sequence_classification import ClassifierCheckpoint, Function, load
from builders.export import torch_dynamo, torch_onnx
from builders.pipeline.extras import need

LOGITS = "logits"
SCORES = "scores"
_LARGE_BYTES = 1 << 30
"""From here on the exporter that is slower and takes a third of the memory."""
_READ_AT_THE_END = frozenset({"bart", "mbart"})


def export(checkpoint: ClassifierCheckpoint, to: Path, *, function: Function | None = None) -> Path:
    """Write the classifier to `to`: INT64 [batch, sequence] for each of its inputs, `logits` FP32 [batch, classes] out.

    With `function` there is a second output `scores` of the same shape.
    """
    torch = need("torch")
    module = _module(torch, load(checkpoint), checkpoint, function)
    ones = torch.ones(2, 8, dtype=torch.int64)
    padded = ones.clone()
    padded[1, 6:] = 0  # a mask without padding could be left out of the graph
    example = [{"attention_mask": padded, "token_type_ids": ones * 0}.get(name, ones) for name in checkpoint.inputs]
    outputs = [LOGITS] if function is None else [LOGITS, SCORES]
    axes: dict[str, dict[int, str]] = {name: {0: "batch", 1: "sequence"} for name in checkpoint.inputs}
    axes.update({name: {0: "batch"} for name in outputs})
    is_large = torch_dynamo.weight_bytes(module) > _LARGE_BYTES
    exporter = torch_dynamo.export if is_large else torch_onnx.export
    return exporter(module, example, to, inputs=checkpoint.inputs, outputs=outputs, dynamic_axes=axes)


def _module(torch: Any, model: Any, checkpoint: ClassifierCheckpoint, function: Function | None) -> Any:
    names: Sequence[str] = checkpoint.inputs
    logits_of = _at_the_end if checkpoint.architecture in _READ_AT_THE_END else _as_it_is

    class Classifier(torch.nn.Module):  # type: ignore[misc] # torch is imported late: the class cannot be seen by mypy
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
            given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
            logits = logits_of(self.model, {name: given[name] for name in names})
            return logits if function is None else (logits, _scores(torch, logits, function))

    return Classifier()


def _as_it_is(model: Any, inputs: dict[str, Any]) -> Any:
    return model(**inputs).logits


def _at_the_end(model: Any, inputs: dict[str, Any]) -> Any:
    states = model.model(**inputs, use_cache=False).last_hidden_state
    last = (inputs["attention_mask"].sum(1) - 1).clamp(min=0)  # a warm-up row of zeros has no last token
    index = last[:, None, None].expand(-1, -1, states.shape[-1])
    return model.classification_head(states.gather(1, index)[:, 0])


def _scores(torch: Any, logits: Any, function: Function) -> Any:
    if function == "softmax":
        return torch.softmax(logits, dim=-1)
    return torch.sigmoid(logits) if function == "sigmoid" else logits * 1.0
