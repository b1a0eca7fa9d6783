"""Turns a torch module into ONNX, weights included; `torch_dynamo.py` does it for large ones.

The TorchScript exporter is used: for graphs below 500 MB it is 5 to 20 times faster than the dynamo one and as exact.
It is announced as deprecated, so nothing but these two modules may call torch.onnx.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builders.pipeline.extras import need

OPSET = 17
"""Read by every ONNX Runtime since 1.13, so by each Triton container of the last three years."""


def export(
    module: Any,
    example: Sequence[Any],
    to: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]],
) -> Path:
    """Write `module` to `to` as ONNX, traced on the example tensors; the named axes stay dynamic.

    The module is put in eval mode first: the exporter restores the training flag of the *wrapper* recursively, and a
    wrapper left in training mode would switch dropout of the wrapped model back on.
    """
    torch = need("torch")
    module.eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracer remarks about shapes: the parity check is what counts
        torch.onnx.export(
            module,
            tuple(example),
            str(to),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: dict(axes) for name, axes in dynamic_axes.items()},
            opset_version=OPSET,
            dynamo=False,
        )
    return to
