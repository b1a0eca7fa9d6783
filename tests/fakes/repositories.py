"""Tiny Triton repositories on disk. Every function takes the folder to write, fills it, and returns it.

One model: the folder is the model (its name is the model's name). A pipeline: the folder is the repository root.
The weights come from a seed, so a test can compute the expected answer with numpy (`linear_weights`).
"""

import hashlib
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from server.archive.layout import read_layout
from server.archive.model_config import backend_of, signature
from server.domain.inference import Array
from server.domain.model import Step, StepDigest

ONNX_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "INT8": TensorProto.INT8,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}

ECHO = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", array)]))
        return responses
"""


def config_datatype(datatype: str) -> str:
    """`FP32` as config.pbtxt writes it: `TYPE_FP32`."""
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"


def tensor_entry(name: str, datatype: str, dims: Sequence[int], extra: str = "") -> str:
    """One `input` or `output` entry of a config, without its field name."""
    return f'{{ name: "{name}" data_type: {config_datatype(datatype)} dims: [ {", ".join(map(str, dims))} ] {extra} }}'


def write_config(folder: Path, *lines: str) -> Path:
    """Write `config.pbtxt` of those lines."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.pbtxt").write_text("\n".join(lines) + "\n")
    return folder


def linear_weights(features: int = 4, outputs: int = 2, seed: int = 0) -> Array:
    """The matrix of `onnx_linear` (without ballast): FP32 [features, outputs]."""
    return np.random.default_rng(seed).standard_normal((features, outputs), dtype=np.float32)


def save_onnx(folder: Path, graph: onnx.GraphProto, *, is_external: bool = False) -> Path:
    """Write `1/model.onnx`; `is_external` puts the weights in `1/model.onnx.data`."""
    version = folder / "1"
    version.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if is_external:
        onnx.save(model, version / "model.onnx", save_as_external_data=True, location="model.onnx.data")
    else:
        onnx.save(model, version / "model.onnx")
    return folder


def onnx_identity(
    folder: Path, *, datatype: str = "FP32", dims: Sequence[int] = (4,), max_batch_size: int = 8, extra: str = ""
) -> Path:
    """OUTPUT0 = INPUT0. `dims` without the batch axis; -1 is dynamic."""
    shape = [*(["batch"] if max_batch_size else []), *(f"d{i}" if dim < 0 else dim for i, dim in enumerate(dims))]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])],
        "identity",
        [helper.make_tensor_value_info("INPUT0", ONNX_TYPES[datatype], shape)],
        [helper.make_tensor_value_info("OUTPUT0", ONNX_TYPES[datatype], shape)],
    )
    save_onnx(folder, graph)
    return write_config(
        folder,
        f'name: "{folder.name}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {max_batch_size}",
        f"input [ {tensor_entry('INPUT0', datatype, dims)} ]",
        f"output [ {tensor_entry('OUTPUT0', datatype, dims)} ]",
        extra,
    )


def onnx_linear(
    folder: Path,
    *,
    features: int = 4,
    outputs: int = 2,
    seed: int = 0,
    max_batch_size: int = 8,
    ballast_bytes: int = 0,
    is_external: bool = False,
    extra: str = "",
) -> Path:
    """OUTPUT0 [batch, outputs] = INPUT0 [batch, features] @ linear_weights(features, outputs, seed).

    `ballast_bytes` > 0 adds a square matrix of about that many bytes that adds zero to the answer but must be kept.
    """
    weights = [numpy_helper.from_array(linear_weights(features, outputs, seed), "W")]
    nodes = [helper.make_node("MatMul", ["INPUT0", "W"], ["OUTPUT0" if not ballast_bytes else "y"])]
    if ballast_bytes:
        side = max(1, math.isqrt(ballast_bytes // 4))
        random = np.random.default_rng(seed + 1)
        ballast = random.standard_normal((side, side), dtype=np.float32)
        weights += [
            numpy_helper.from_array(random.standard_normal((features, side), dtype=np.float32), "A"),
            numpy_helper.from_array(ballast, "B"),
            numpy_helper.from_array(np.zeros((side, outputs), dtype=np.float32), "C"),
        ]
        nodes += [
            helper.make_node("MatMul", ["INPUT0", "A"], ["a"]),
            helper.make_node("MatMul", ["a", "B"], ["b"]),
            helper.make_node("MatMul", ["b", "C"], ["c"]),
            helper.make_node("Add", ["y", "c"], ["OUTPUT0"]),
        ]
    batch = ["batch"] if max_batch_size else []
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("INPUT0", TensorProto.FLOAT, [*batch, features])],
        [helper.make_tensor_value_info("OUTPUT0", TensorProto.FLOAT, [*batch, outputs])],
        weights,
    )
    save_onnx(folder, graph, is_external=is_external)
    return write_config(
        folder,
        f'name: "{folder.name}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {max_batch_size}",
        f"input [ {tensor_entry('INPUT0', 'FP32', [features])} ]",
        f"output [ {tensor_entry('OUTPUT0', 'FP32', [outputs])} ]",
        extra,
    )


def python_model(folder: Path, source: str, *config: str) -> Path:
    """A python step: `1/model.py` with `source`, and a config whose remaining lines are `config`."""
    (folder / "1").mkdir(parents=True, exist_ok=True)
    (folder / "1" / "model.py").write_text(textwrap.dedent(source).lstrip())
    return write_config(folder, f'name: "{folder.name}"', 'backend: "python"', *config)


def python_echo(
    folder: Path, *, datatype: str = "FP32", dims: Sequence[int] = (4,), max_batch_size: int = 8, extra: str = ""
) -> Path:
    """OUTPUT0 = INPUT0, in Triton's Python model API."""
    return python_model(
        folder,
        ECHO,
        f"max_batch_size: {max_batch_size}",
        f"input [ {tensor_entry('INPUT0', datatype, dims)} ]",
        f"output [ {tensor_entry('OUTPUT0', datatype, dims)} ]",
        extra,
    )


def chain_ensemble(
    folder: Path,
    steps: Sequence[str],
    *,
    datatype: str = "FP32",
    input_dims: Sequence[int] = (4,),
    output_dims: Sequence[int] = (4,),
    max_batch_size: int = 8,
) -> Path:
    """An ensemble model folder that pipes INPUT0 through `steps` (each INPUT0 -> OUTPUT0) into OUTPUT0."""
    names = ["INPUT0", *(f"between_{i}" for i in range(1, len(steps))), "OUTPUT0"]
    entries = ", ".join(
        f'{{ model_name: "{step}" model_version: -1 input_map {{ key: "INPUT0" value: "{names[i]}" }} '
        f'output_map {{ key: "OUTPUT0" value: "{names[i + 1]}" }} }}'
        for i, step in enumerate(steps)
    )
    (folder / "1").mkdir(parents=True, exist_ok=True)
    return write_config(
        folder,
        f'name: "{folder.name}"',
        'platform: "ensemble"',
        f"max_batch_size: {max_batch_size}",
        f"input [ {tensor_entry('INPUT0', datatype, input_dims)} ]",
        f"output [ {tensor_entry('OUTPUT0', datatype, output_dims)} ]",
        f"ensemble_scheduling {{ step [ {entries} ] }}",
    )


def linear_pipeline(
    root: Path, *, encoder_seed: int = 0, head_seed: int = 1, ballast_bytes: int = 0, is_external: bool = False
) -> Path:
    """Encoder (4 -> 3, with the ballast) -> head (3 -> 2) under the ensemble `pipeline`. A whole repository.

    Archives made with equal `encoder_seed` and ballast share the encoder.
    """
    onnx_linear(
        root / "encoder",
        features=4,
        outputs=3,
        seed=encoder_seed,
        ballast_bytes=ballast_bytes,
        is_external=is_external,
    )
    onnx_linear(root / "head", features=3, outputs=2, seed=head_seed)
    chain_ensemble(root / "pipeline", ["encoder", "head"], input_dims=[4], output_dims=[2])
    return root


def linear_pipeline_answer(inputs: Array, *, encoder_seed: int = 0, head_seed: int = 1) -> Array:
    """What `linear_pipeline` answers for FP32 [batch, 4]: FP32 [batch, 2]."""
    answer: Array = inputs @ linear_weights(4, 3, encoder_seed) @ linear_weights(3, 2, head_seed)
    return answer


def echo_pipeline(root: Path) -> Path:
    """Python `echo` -> onnx `identity` under the ensemble `pipeline`. A whole repository."""
    python_echo(root / "echo")
    onnx_identity(root / "identity")
    chain_ensemble(root / "pipeline", ["echo", "identity"])
    return root


def staged_steps(root: Path) -> tuple[Step, ...]:
    """The steps of the repository (or of the one model) at `root`, callees first, as an engine takes them.

    Nothing is copied, and the digests depend on the folders, not on their content.
    """
    layout = read_layout(root)
    digests = {model.name: StepDigest(hashlib.sha256(str(model.path).encode()).hexdigest()) for model in layout.models}
    return tuple(
        Step(
            digest=digests[model.name],
            name=model.name,
            backend=backend_of(model.config),
            directory=model.path,
            signature=signature(model.config, model.path),
            calls={name: digests[name] for name in model.calls},
            file_bytes=sum(file.stat().st_size for file in model.path.rglob("*") if file.is_file()),
        )
        for model in layout.models
    )
