"""Where a step runs: on the CPU or on which GPU, by its instance groups and by what is here."""

from dataclasses import dataclass

from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from server.domain.errors import UnsupportedModel
from server.domain.model import CPU, Device
from server.engines.devices import gpu_memory_bytes


@dataclass(frozen=True, slots=True)
class Hardware:
    """What this process can use. `providers` are ONNX Runtime's execution providers."""

    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    gpus: int = 0

    @property
    def runs_onnx_on_gpu(self) -> bool:
        """Whether ONNX graphs can run on a GPU here."""
        return self.gpus > 0 and "CUDAExecutionProvider" in self.providers


def look_around(gpus: int | None = None) -> Hardware:
    """Find out what is here; `gpus` where they were counted already. Blocking: imports onnxruntime."""
    import onnxruntime

    counted = len(gpu_memory_bytes()) if gpus is None else gpus
    return Hardware(tuple(onnxruntime.get_available_providers()), counted)


def place(config: ModelConfig, backend: str, hardware: Hardware) -> Device:
    """The device whose memory the step takes.

    One copy serves all instances of a step, so of several GPUs the first is taken; spreading is residency's choice.
    Raises UnsupportedModel where `config` insists on a GPU that cannot be used.
    """
    if backend == "ensemble":
        return CPU
    can_use_gpu = hardware.runs_onnx_on_gpu if backend == "onnxruntime" else hardware.gpus > 0
    groups = [group for group in config.instance_group if group.kind == ModelInstanceGroup.KIND_GPU]
    if groups and not can_use_gpu:
        raise UnsupportedModel(
            f"model {config.name!r} asks for KIND_GPU, and this server has no GPU that the {backend} backend can use; "
            "use KIND_CPU or KIND_AUTO in instance_group, or (with a GPU) install the `gpu` extra"
        )
    if groups:
        return f"gpu:{groups[0].gpus[0] if groups[0].gpus else 0}"
    is_free_to_choose = not config.instance_group or config.instance_group[0].kind == ModelInstanceGroup.KIND_AUTO
    if backend == "onnxruntime" and is_free_to_choose and can_use_gpu:
        listed = config.instance_group[0].gpus if config.instance_group else ()
        return f"gpu:{listed[0] if listed else 0}"
    return CPU
