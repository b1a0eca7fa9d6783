"""Segment Anything's preprocessing as a DALI pipeline, after `segment_anything.utils.transforms.ResizeLongestSide`.

Measured against SamPredictor on photos: 0.002 in the mean, one grey level (0.0175) at most, but for single pixels at
the edges of odd sizes (10 levels); the shapes are the same for all of 384 sizes tried.
"""

from builders.export.dali_pipeline import Device, head_text

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
LONGER_SIDE = 1024


def sam_source(*, source: str = "IMAGE", max_batch_size: int, device: Device = "cpu", side: int = LONGER_SIDE) -> str:
    """The text of a pipeline with two outputs, in this order.

    `source` UINT8 [-1] (an encoded picture) -> FP32 [3, side, side] (the longer side made `side`, normalised, zeros to
    the right and below), and INT64 [2] (height and width of the picture itself, after its EXIF orientation).
    Give it to `dali_pipeline.write`.
    """
    head = head_text(
        "Prepares pictures for Segment Anything.",
        source=source,
        max_batch_size=max_batch_size,
        device=device,
        outputs=[("types.FLOAT", 3), ("types.INT64", 1)],
    )
    return f"""{head}    pixels = fn.resize(pixels, resize_longer={side}, interp_type=types.INTERP_LINEAR)
    pixels = fn.crop_mirror_normalize(
        pixels, mean={list(MEAN)}, std={list(STD)}, dtype=types.FLOAT, output_layout="CHW"
    )
    size = fn.slice(fn.peek_image_shape(encoded, dtype=types.INT64), 0, 2, axes=[0])
    return fn.pad(pixels, axes=(1, 2), shape=({side}, {side}), fill_value=0), size
"""
