"""Small DALI repositories, written with nvidia.dali itself."""

import importlib
from pathlib import Path
from typing import Any

CONFIG = """name: "{name}"
backend: "dali"
max_batch_size: {batch}
input [ {{ name: "IMAGE" data_type: TYPE_UINT8 dims: [ -1 ] allow_ragged_batch: true }} ]
output [ {{ name: "PIXELS" data_type: TYPE_UINT8 dims: [ {dims} ] }} ]
output [ {{ name: "SIZE" data_type: TYPE_INT64 dims: [ 2 ] }} ]
instance_group [ {{ count: {instances} kind: KIND_CPU }} ]
parameters {{ key: "num_threads" value {{ string_value: "{threads}" }} }}
"""


def serialized(size: int = 0, device: str = "cpu", *, declares: bool = False) -> bytes:
    """A pipeline: IMAGE (an encoded file) -> its pixels (resized to `size` x `size` unless 0), and [height, width].

    `declares`: it says of which types and ranks its outputs are.
    """
    dali: Any = importlib.import_module("nvidia.dali")
    fn, types = importlib.import_module("nvidia.dali.fn"), importlib.import_module("nvidia.dali.types")

    told = {"output_dtype": [types.UINT8, types.INT64], "output_ndim": [3, 1]} if declares else {}

    @dali.pipeline_def(batch_size=4, num_threads=1, device_id=None, **told)  # type: ignore[untyped-decorator]
    def pipeline() -> Any:
        raw = fn.external_source(name="IMAGE", dtype=types.UINT8, ndim=1)
        pixels = fn.decoders.image(raw, device=device, output_type=types.RGB)
        if size:
            pixels = fn.resize(pixels, size=[size, size])
        return pixels, fn.slice(fn.peek_image_shape(raw, dtype=types.INT64), 0, 2, axes=[0])

    written: bytes = pipeline().serialize()
    return written


def decoder(
    root: Path, size: int = 0, *, instances: int = 1, batch: int = 4, threads: str = "1", declares: bool = False
) -> Path:
    """A model of backend `dali`: IMAGE UINT8 [-1] -> PIXELS UINT8 [h, w, 3] and SIZE INT64 [2]."""
    (root / "1").mkdir(parents=True)
    (root / "1" / "model.dali").write_bytes(serialized(size, declares=declares))
    dims = f"{size}, {size}, 3" if size else "-1, -1, 3"
    text = CONFIG.format(name=root.name, batch=batch, dims=dims, instances=instances, threads=threads)
    (root / "config.pbtxt").write_text(text)
    return root
