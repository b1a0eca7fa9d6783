"""One small graph as an archive for a GPU, in the three ways of running it."""

from pathlib import Path

from builders.triton_config import accelerated
from builders.triton_config import model as triton
from builders.triton_config.profile import as_facts, profile_of
from server.archive.manifest import Manifest, write_manifest
from tests.fakes.repositories import onnx_linear

FEATURES, OUTPUTS, MOST = 16, 8, 32
INPUTS = [triton.Field("INPUT0", "TYPE_FP32", (FEATURES,))]
PROFILE = profile_of(INPUTS, MOST, {})


def write(folder: Path, accelerator: accelerated.Accelerator) -> Path:
    """An archive folder with one step, `linear`: FP32 [batch, 16] -> FP32 [batch, 8], as an ONNX step on a GPU."""
    onnx_linear(folder / "linear", features=FEATURES, outputs=OUTPUTS)
    config = accelerated.graph_config(
        name="linear",
        inputs=INPUTS,
        outputs=[triton.Field("OUTPUT0", "TYPE_FP32", (OUTPUTS,))],
        max_batch_size=MOST,
        where=accelerated.placement("gpu", accelerator),
        profile=PROFILE,
        cache_key="gpu-test",
    )
    accelerated.with_profile_warmup(config, PROFILE)
    (folder / "linear" / "config.pbtxt").write_text(triton.text(config))
    write_manifest(Manifest(entry_model="linear", steps={"linear": {"profile": as_facts(PROFILE)}}), folder)
    return folder
