"""Makes tiny Python steps on disk, and runs them: shared by the unit and the integration tests of python_steps."""

import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from server.domain.errors import InvalidRequest
from server.domain.inference import NUMPY_BY_DATATYPE, InferenceRequest, InferenceResponse, Tensor
from server.domain.model import ModelSignature, Step, StepDigest, TensorSpec
from server.engines.embedded.backends.python import PythonBackend

ECHO = """
    import triton_python_backend_utils as pb_utils


    class TritonPythonModel:
        def execute(self, requests):
            return [
                pb_utils.InferenceResponse([pb_utils.Tensor("OUT", request.inputs()[0].as_numpy())])
                for request in requests
            ]
"""


def step_config(name: str, datatype: str = "FP32", extra: str = "", host: str = "isolated") -> ModelConfig:
    """One input IN and one output OUT of any length, of the same data type."""
    kind = "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
    return text_format.Parse(
        f"""
        name: "{name}" backend: "python"
        input [ {{ name: "IN" data_type: {kind} dims: [ -1 ] }} ]
        output [ {{ name: "OUT" data_type: {kind} dims: [ -1 ] }} ]
        parameters {{ key: "EXECUTION" value: {{ string_value: "{host}" }} }}
        {extra}
        """,
        ModelConfig(),
    )


def write_step(root: Path, name: str, code: str, files: Mapping[str, str] | None = None) -> Path:
    """A step's folder with `code` as its model file, and `files` beside it."""
    version = root / name / "1"
    version.mkdir(parents=True)
    for file_name, text in {"model.py": code, **(files or {})}.items():
        path = version / file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return version.parent


def step_of(directory: Path, config: ModelConfig, calls: tuple[str, ...] = ()) -> Step:
    """The step as the archive would describe it."""

    def specs(tensors) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(
                tensor.name,
                DataType.Name(tensor.data_type).removeprefix("TYPE_").replace("STRING", "BYTES"),
                tuple(tensor.dims),
            )
            for tensor in tensors
        )

    signature = ModelSignature(
        platform="python",
        max_batch_size=config.max_batch_size,
        inputs=specs(config.input),
        outputs=specs(config.output),
        is_decoupled=config.model_transaction_policy.decoupled,
    )
    digests = {call: StepDigest(f"digest of {call}") for call in calls}
    return Step(StepDigest("0" * 64), config.name, "python", directory, signature, digests)


class FakeCallees:
    """Runs functions as callees: each takes the input array and returns the output array."""

    def __init__(self, **callees: Callable[[np.ndarray], np.ndarray]) -> None:
        self.callees = callees
        self.asked: list[InferenceRequest] = []

    def run(self, model_name: str, request: InferenceRequest) -> InferenceResponse:
        self.asked.append(request)
        if model_name not in self.callees:
            raise InvalidRequest(f"no callee {model_name!r}")
        tensor = next(iter(request.inputs.values()))
        return InferenceResponse((Tensor("OUT", tensor.datatype, self.callees[model_name](tensor.data)),))

    def stream(self, model_name: str, request: InferenceRequest) -> Iterator[InferenceResponse]:
        data = next(iter(request.inputs.values())).data
        for value in data:
            one = Tensor("IN", "FP32", np.array([value], np.float32))
            yield self.run(model_name, InferenceRequest({"IN": one}))

    def signature(self, model_name: str) -> ModelSignature:
        return ModelSignature("python", 0, (), ())


class StepRig:
    """Loads steps on one kind of host, and closes everything in the end."""

    def __init__(self, host: str, root: Path, backend: PythonBackend | None = None) -> None:
        self.host = host
        self.root = root
        self.backend = backend or PythonBackend()
        self.loaded: list = []

    def load(
        self,
        code: str,
        *,
        name: str = "step",
        datatype: str = "FP32",
        extra: str = "",
        files: Mapping[str, str] | None = None,
        calls: tuple[str, ...] = (),
        callees: FakeCallees | None = None,
    ):
        directory = write_step(self.root, name, code, files)
        config = step_config(name, datatype, extra, self.host)
        loaded = self.backend.load(step_of(directory, config, calls), config, callees or FakeCallees())
        self.loaded.append(loaded)
        return loaded

    def close(self) -> None:
        for loaded in self.loaded:
            loaded.close()
        self.backend.close()


def request_of(*values: object, datatype: str = "FP32", **more: object) -> InferenceRequest:
    """A request with one input."""
    data = np.array(values, dtype=NUMPY_BY_DATATYPE[datatype])
    return InferenceRequest({"IN": Tensor("IN", datatype, data)}, **more)


def output_of(response: InferenceResponse) -> list:
    """The one output's values."""
    return response.outputs[0].data.tolist()


def open_descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
