"""A BERT-like sentence encoder as ONNX, with its pooling and normalisation inside the graph, or without."""

from pathlib import Path
from typing import Any

from builders.checkpoints.sentence_transformers import SentenceCheckpoint
from builders.export import torch_onnx
from builders.pipeline.extras import need

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def export(checkpoint: SentenceCheckpoint, to: Path, *, is_pooled: bool, output: str) -> Path:
    """Write the encoder to `to`: INT64 [batch, sequence] each in, `output` FP32 [batch, (sequence,) width] out."""
    torch, transformers = need("torch"), need("transformers")
    encoder = transformers.AutoModel.from_pretrained(
        checkpoint.folder,
        dtype=torch.float32,
        # The same sums as torch's own attention, without its guard for texts of no token at all: a quarter fewer nodes.
        attn_implementation="eager",
    )
    module = _module(torch, encoder, checkpoint, is_pooled=is_pooled)
    example = torch.ones(2, 8, dtype=torch.int64)
    batch = {0: "batch", 1: "sequence"}
    return torch_onnx.export(
        module,
        (example, example, example * 0),
        to,
        inputs=INPUTS,
        outputs=[output],
        dynamic_axes={**dict.fromkeys(INPUTS, batch), output: {0: "batch"} if is_pooled else batch},
    )


def _module(torch: Any, encoder: Any, checkpoint: SentenceCheckpoint, *, is_pooled: bool) -> Any:
    """The encoder with the checkpoint's pooling and normalisation behind it, or alone."""

    class Encoder(torch.nn.Module):  # type: ignore[misc] # torch is imported late: the class cannot be seen by mypy
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            tokens = self.encoder(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state
            return _pooled(torch, tokens, attention_mask, checkpoint) if is_pooled else tokens

    return Encoder()


def _pooled(torch: Any, tokens: Any, attention_mask: Any, checkpoint: SentenceCheckpoint) -> Any:
    if checkpoint.pooling == "cls":
        pooled = tokens[:, 0]
    else:
        mask = attention_mask.unsqueeze(-1).to(tokens.dtype)
        if checkpoint.pooling == "mean":
            pooled = (tokens * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        else:
            pooled = tokens.masked_fill(mask == 0, -1e9).max(1).values
    return torch.nn.functional.normalize(pooled, p=2, dim=1) if checkpoint.is_normalized else pooled
