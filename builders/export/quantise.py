"""Dynamic int8 quantisation of a plain ONNX graph (weights per channel, activations per batch)."""

import logging
from pathlib import Path

from builders.pipeline.extras import need


def quantise(plain: Path, to: Path) -> Path:
    """Write the int8 form of `plain` to `to`. Run it before `optimise`: fused graphs cannot be quantised."""
    need("onnx")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # its advice about preprocessing does not apply: graphs here are freshly exported
    try:
        quantize_dynamic(str(plain), str(to), per_channel=True, weight_type=QuantType.QInt8)
    finally:
        root.setLevel(level)
    return to
