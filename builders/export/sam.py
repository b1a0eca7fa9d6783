"""Segment Anything as two ONNX graphs: the image encoder, and the prompt encoder with the mask decoder.

The package's own export (`utils.onnx.SamOnnxModel`) is not used: it bakes the traced image's size into its
post-processing, and picks its single mask differently from `SamPredictor`. Here the decoder ends at the low-resolution
masks, all four of them; `builders/python_steps/segment` does the rest.
"""

from pathlib import Path
from typing import Any

from builders.checkpoints.segment_anything import SamCheckpoint
from builders.export import torch_dynamo, torch_onnx
from builders.pipeline.extras import need

ENCODER_INPUT, ENCODER_OUTPUT = "image", "image_embeddings"
DECODER_INPUTS = (ENCODER_OUTPUT, "point_coords", "point_labels", "mask_input", "has_mask_input")
DECODER_OUTPUTS = ("low_res_masks", "iou_predictions")
_LARGE_BYTES = 200e6


def export_encoder(checkpoint: SamCheckpoint, to: Path) -> Path:
    """Write the image encoder: FP32 [1, 3, 1024, 1024] to FP32 [1, 256, 64, 64]. One image at a time.

    (A batch axis would cost the CPU a multiple of the memory, and a GPU gains nothing from it: one image fills it.)
    """
    torch = need("torch")
    encoder = checkpoint.model.image_encoder
    example = torch.zeros(1, 3, encoder.img_size, encoder.img_size)
    export = torch_dynamo.export if torch_dynamo.weight_bytes(encoder) > _LARGE_BYTES else torch_onnx.export
    return export(encoder, [example], to, inputs=[ENCODER_INPUT], outputs=[ENCODER_OUTPUT], dynamic_axes={})


def export_decoder(checkpoint: SamCheckpoint, to: Path) -> Path:
    """Write the decoder for one image, p prompts of n points each.

    In: `image_embeddings` FP32 [1, 256, 64, 64], `point_coords` FP32 [p, n, 2] (pixels of the 1024 square),
    `point_labels` FP32 [p, n] (0, 1; 2 and 3 for a box; -1 for padding), `mask_input` FP32 [p, 1, 256, 256],
    `has_mask_input` FP32 [1] (0 or 1). Out: `low_res_masks` FP32 [p, 4, 256, 256], `iou_predictions` FP32 [p, 4].
    """
    torch = need("torch")
    model = checkpoint.model
    channels, (height, width) = model.prompt_encoder.embed_dim, model.prompt_encoder.image_embedding_size
    example = (
        torch.zeros(1, channels, height, width),
        torch.full((2, 3, 2), 500.0),
        torch.tensor([[0.0, 1.0, -1.0], [1.0, 2.0, 3.0]]),
        torch.zeros(2, 1, 4 * height, 4 * width),
        torch.ones(1),
    )
    prompts, points = {0: "prompts"}, {0: "prompts", 1: "points"}
    return torch_onnx.export(
        _decoder(torch, model),
        example,
        to,
        inputs=DECODER_INPUTS,
        outputs=DECODER_OUTPUTS,
        dynamic_axes={
            "point_coords": points,
            "point_labels": points,
            "mask_input": prompts,
            "low_res_masks": prompts,
            "iou_predictions": prompts,
        },
    )


def _decoder(torch: Any, model: Any) -> Any:
    """The prompt encoder without its indexing by label (which no graph has), and the mask decoder, as one module."""

    class Decoder(torch.nn.Module):  # type: ignore[misc] # torch is imported late: the class cannot be seen by mypy
        def __init__(self) -> None:
            super().__init__()
            self.prompts, self.decoder = model.prompt_encoder, model.mask_decoder
            self.register_buffer("image_positions", model.prompt_encoder.get_dense_pe().detach())
            self.side = model.image_encoder.img_size

        def forward(self, embeddings: Any, points: Any, labels: Any, mask: Any, has_mask: Any) -> Any:
            sparse = self.of_points(points, labels)
            dense = has_mask * self.prompts.mask_downscaling(mask)
            dense = dense + (1 - has_mask) * self.prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)
            return self.masks(embeddings + dense, sparse)

        def of_points(self, points: Any, labels: Any) -> Any:
            """A point is its position and its kind; padding is its kind only."""
            found = self.prompts.pe_layer._pe_encoding((points + 0.5) / self.side)
            kinds = labels.unsqueeze(-1)
            found = found * (kinds != -1) + self.prompts.not_a_point_embed.weight * (kinds == -1)
            for label, kind in enumerate(self.prompts.point_embeddings):
                found = found + kind.weight * (kinds == label)
            return found

        def masks(self, image: Any, sparse: Any) -> Any:
            """What `MaskDecoder.predict_masks` computes, with the image already repeated per prompt."""
            decoder = self.decoder
            own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
            # Repeated by adding zeros of the image's batch: there may be no points at all beside a mask.
            tokens = torch.cat([own.unsqueeze(0) + torch.zeros_like(image[:, :1, :1, 0]), sparse], dim=1)
            positions = self.image_positions + torch.zeros_like(image[:, :1, :1, :1])
            states, seen = decoder.transformer(image, positions, tokens)
            channels, height, width = image.shape[1:]
            upscaled = decoder.output_upscaling(seen.transpose(1, 2).reshape(-1, channels, height, width))
            count = decoder.num_mask_tokens
            weights = [decoder.output_hypernetworks_mlps[i](states[:, 1 + i]) for i in range(count)]
            masks = torch.stack(weights, dim=1) @ upscaled.flatten(2)
            return masks.reshape(-1, count, *upscaled.shape[2:]), decoder.iou_prediction_head(states[:, 0])

    return Decoder()
