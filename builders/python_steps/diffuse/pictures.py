"""Pixels as the VAE wants them, and back; resampling as diffusers' image processor does it. Pure numpy."""

from typing import Final

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

_LOBES: Final = 3.0
_HALF: Final = 128

_PREVIEW: Final = np.array(
    [[0.298, 0.207, 0.208], [0.187, 0.286, 0.173], [-0.158, 0.189, 0.264], [-0.184, -0.271, -0.473]], np.float32
)
"""RGB of one unit of each latent channel of Stable Diffusion 1.x: a linear fit that its community found."""


def to_model(image: Bytes, height: int, width: int) -> Floats:
    """UINT8 [h, w, 3] to FP32 [1, 3, height, width] from -1 to 1."""
    pixels = resized(image, height, width).astype(np.float32) / np.float32(255)
    return np.ascontiguousarray((np.float32(2) * pixels - np.float32(1)).transpose(2, 0, 1)[None])


def from_model(image: Floats) -> Bytes:
    """FP32 [1, 3, height, width] from -1 to 1 to UINT8 [height, width, 3]."""
    unit = np.clip(image[0].transpose(1, 2, 0) * np.float32(0.5) + np.float32(0.5), 0, 1)
    return np.ascontiguousarray((unit * np.float32(255)).round().astype(np.uint8))


def mask_to_model(mask: Bools, height: int, width: int) -> Bools:
    """BOOL [h, w] to BOOL [1, 1, height, width]."""
    grey = mask.astype(np.uint8) * np.uint8(255)
    resized_mask: Bools = (resized(grey, height, width) >= _HALF)[None, None]
    return resized_mask


def preview(latents: Floats) -> Bytes:
    """FP32 [4, h, w] of the model's scaled latents to a rough UINT8 [h, w, 3], without the decoder."""
    if latents.shape[0] != len(_PREVIEW):
        latents = np.repeat(latents.mean(axis=0, keepdims=True), len(_PREVIEW), axis=0)
    rgb = np.einsum("chw,cr->hwr", latents, _PREVIEW)
    rough: Bytes = ((np.clip(rgb, -1, 1) + 1) * 127.5).round().astype(np.uint8)
    return rough


def resized(image: Bytes, height: int, width: int) -> Bytes:
    """Resample UINT8 [h, w(, channels)] with Pillow's Lanczos filter: columns first, then rows.

    Each pass equals Pillow's to one level. Pillow 13 takes the rows first where that is less work, which sharp edges
    show, as both of us clip in between.
    """
    out = image
    if image.shape[1] != width:
        out = _levels(np.tensordot(_weights(image.shape[1], width), out.astype(np.float32), (1, 1)).swapaxes(0, 1))
    if image.shape[0] != height:
        out = _levels(np.tensordot(_weights(image.shape[0], height), out.astype(np.float32), (1, 0)))
    return out


def _levels(values: npt.NDArray[np.float32]) -> Bytes:
    rounded: Bytes = np.clip(np.floor(values + np.float32(0.5)), 0, 255).astype(np.uint8)
    return rounded


def _weights(source: int, target: int) -> Floats:
    """FP32 [target, source]: the share of each source pixel in each target pixel; rows sum to 1."""
    scale = source / target
    stretch = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    first = np.maximum((centres - _LOBES * stretch + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + _LOBES * stretch + 0.5).astype(np.int64), source)
    place = np.arange(source)
    offset = (place[None, :] + 0.5 - centres[:, None]) / stretch
    lanczos = np.where(np.abs(offset) < _LOBES, np.sinc(offset) * np.sinc(offset / _LOBES), 0.0)
    lanczos[(place[None, :] < first[:, None]) | (place[None, :] >= last[:, None])] = 0.0
    weights: Floats = (lanczos / lanczos.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights
