"""Archives whose right answer anybody can compute: OUTPUT0 = INPUT0 x factor + offset, FP32 [batch, 4].

Factor and offset both depend on the version, and in a pipeline they live in different steps: an answer says which
version gave it, and one that is mixed from two versions is the answer of none.
"""

import io
import random
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Kind = Literal["onnx", "pipeline", "python"]
Files = dict[str, bytes]
WIDTH: Final = 4
BALLAST_SIDE: Final = 450
"""A square matrix of FP32 that is no part of the answer: 0.8 MB, so that memory, disk and transfers matter."""
_PYTHON: Final = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", self.answer(request))]) for request in requests]

    def answer(self, request):
        array = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
        return (array * {factor} + {offset}).astype("float32")
"""


@dataclass(frozen=True, slots=True)
class Archive:
    """One name in the store. `index` makes its offsets its own."""

    name: str
    kind: Kind
    index: int

    def factor(self, version: int) -> int:
        """What a version multiplies with."""
        return 2 + version

    def offset(self, version: int) -> int:
        """What a version adds."""
        return 10_000 * (self.index + 1) + version


def fleet(onnx: int, pipelines: int, python: int) -> tuple[Archive, ...]:
    """So many of each kind."""
    counted: tuple[tuple[Kind, int], ...] = (("onnx", onnx), ("pipeline", pipelines), ("python", python))
    kinds = [kind for kind, count in counted for _ in range(count)]
    return tuple(Archive(f"team-{index % 3}/{kind}-{index}.tar.gz", kind, index) for index, kind in enumerate(kinds))


def version_of(archive: Archive, inputs: NDArray[np.float32], outputs: NDArray[np.float32]) -> int | str:
    """Which version gave this answer to these (whole, all different) inputs, or what is wrong with it."""
    if outputs.shape != inputs.shape:
        return f"shape {outputs.shape} for {inputs.shape}"
    flat, given = inputs.ravel().astype(float), outputs.ravel().astype(float)
    factor = round((given[1] - given[0]) / (flat[1] - flat[0]))
    offset = round(given[0] - factor * flat[0])
    if not np.array_equal(flat * factor + offset, given):
        return f"no version's answer: {given.tolist()}"
    by_factor, by_offset = factor - archive.factor(0), offset - archive.offset(0)
    return by_factor if by_factor == by_offset else f"mixed: factor of version {by_factor}, offset of {by_offset}"


def files_of(archive: Archive, version: int) -> Files:
    """The archive's repository, by path."""
    factor, offset = archive.factor(version), archive.offset(version)
    if archive.kind == "python":
        source = _PYTHON.format(factor=factor, offset=offset)
        return {"step/config.pbtxt": _config("step", 'backend: "python"'), "step/1/model.py": source.encode()}
    if archive.kind == "onnx":
        return _onnx("step", factor, offset, archive.index)
    return {
        **_onnx("base", 1, 0, 0),  # the same in all pipelines, so that it is shared
        **_onnx("times", factor, 0, archive.index),
        **_onnx("plus", 1, offset, archive.index, has_ballast=False),
        **_ensemble("whole", ("base", "times", "plus")),
    }


def packed(files: Mapping[str, bytes]) -> bytes:
    """The files as a .tar.gz."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for path, content in sorted(files.items()):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


BROKEN: Final = ("cut off", "no archive at all", "empty", "without a model", "model cut off", "outside of the archive")


def broken(archive: Archive, version: int, how: str, dice: random.Random) -> bytes:
    """An upload that went wrong."""
    files = files_of(archive, version)
    if how == "no archive at all":
        return dice.randbytes(5000)
    if how == "empty":
        return b""
    if how == "without a model":
        return packed({"readme.txt": b"nothing here"})
    if how == "outside of the archive":
        return packed({**files, "../../outside.txt": b"should never be written"})
    if how == "model cut off":
        model = next(path for path in files if path.endswith(("model.onnx", "model.py")))
        return packed({**files, model: files[model][: len(files[model]) // 2]})
    whole = packed(files)
    return whole[: dice.randrange(100, len(whole) - 100)]


def _onnx(name: str, factor: int, offset: int, seed: int, *, has_ballast: bool = True) -> Files:
    side = BALLAST_SIDE if has_ballast else 4
    random_numbers = np.random.default_rng(seed)
    weights = {
        "factor": np.array([factor], np.float32),
        "offset": np.array([offset], np.float32),
        "into": random_numbers.standard_normal((WIDTH, side), dtype=np.float32),
        "ballast": random_numbers.standard_normal((side, side), dtype=np.float32),
        "zero": np.zeros((side, WIDTH), np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["INPUT0", "into"], ["a"]),
        helper.make_node("MatMul", ["a", "ballast"], ["b"]),
        helper.make_node("MatMul", ["b", "zero"], ["c"]),
        helper.make_node("Mul", ["INPUT0", "factor"], ["d"]),
        helper.make_node("Add", ["d", "offset"], ["e"]),
        helper.make_node("Add", ["e", "c"], ["OUTPUT0"]),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("INPUT0", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("OUTPUT0", TensorProto.FLOAT, ["batch", WIDTH])],
        [numpy_helper.from_array(array, key) for key, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return {
        f"{name}/config.pbtxt": _config(name, 'backend: "onnxruntime"'),
        f"{name}/1/model.onnx": model.SerializeToString(),
    }


def _ensemble(name: str, steps: tuple[str, ...]) -> Files:
    tensors = ["INPUT0", *(f"between_{index}" for index in range(1, len(steps))), "OUTPUT0"]
    entries = ", ".join(
        f'{{ model_name: "{step}" model_version: -1 input_map {{ key: "INPUT0" value: "{tensors[index]}" }} '
        f'output_map {{ key: "OUTPUT0" value: "{tensors[index + 1]}" }} }}'
        for index, step in enumerate(steps)
    )
    body = f'platform: "ensemble"\nensemble_scheduling {{ step [ {entries} ] }}'
    return {f"{name}/config.pbtxt": _config(name, body), f"{name}/1/.keep": b""}


def _config(name: str, body: str) -> bytes:
    tensor = f"data_type: TYPE_FP32 dims: [ {WIDTH} ]"
    return (
        f'name: "{name}"\n{body}\nmax_batch_size: 8\n'
        f'input [ {{ name: "INPUT0" {tensor} }} ]\noutput [ {{ name: "OUTPUT0" {tensor} }} ]\n'
    ).encode()
