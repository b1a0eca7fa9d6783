"""FP16 weights and arithmetic for GPUs, with the graph's inputs and outputs kept as they are.

From TensorRT 11 on this is the only way to FP16: the builder takes the graph's own types. Convert the plain export, not
the output of `optimise`: on a CPU ONNX Runtime would insert casts back to FP32 around every operator.
Measured against FP32: about 1.2e-3 of the largest value on MiniLM, Inception v3, a Stable Diffusion UNet.
"""

from collections.abc import Sequence
from pathlib import Path

from builders.pipeline.extras import need

_ONE_FILE_BYTES = 1 << 30
"""Protobuf ends at 2 GiB; larger weights go into a file beside the graph."""
WEIGHTS = "weights.bin"


def half(plain: Path, to: Path, *, keep_fp32: Sequence[str] = ()) -> Path:
    """Write the FP16 form of the ONNX file `plain` to `to`; returns `to`.

    `keep_fp32`: names of nodes that stay FP32 because their values leave FP16's range (65504).
    """
    onnx = need("onnx")
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(str(plain))
    is_large = sum(len(each.raw_data) for each in model.graph.initializer) > _ONE_FILE_BYTES
    # Inferring shapes would serialise the whole model, which protobuf cannot do above 2 GiB.
    model = convert_float_to_float16(
        model, keep_io_types=True, node_block_list=list(keep_fp32) or None, disable_shape_infer=is_large
    )
    if is_large:
        onnx.save(model, str(to), save_as_external_data=True, location=WEIGHTS)
    else:
        to.write_bytes(model.SerializeToString(deterministic=True))
    return to
