"""What a TensorRT plan was compiled for: written by builders, read by the engine that is to load it.

The facts lie in the step's config (`parameters`), because steps are shared by digest, without their manifests.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.archive.model_config import parameter

_PREFIX: Final = "TENSORRT_"
NONE: Final = "none"
SAME_COMPUTE_CAPABILITY: Final = "same_compute_capability"
AMPERE_PLUS: Final = "ampere_plus"


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """All text, as in the config.

    `version` is TensorRT's version ("11.4.0.106"), `compute_capability` the GPU's ("9.0"), `gpu` its name for people,
    `hardware` one of "none", "same_compute_capability", "ampere_plus"; `version_compatible` is "true" or "false".
    """

    version: str
    compute_capability: str
    gpu: str = ""
    hardware: str = NONE
    version_compatible: str = "false"

    def as_parameters(self) -> dict[str, str]:
        """For the step's config."""
        return {f"{_PREFIX}{name.upper()}": value for name, value in asdict(self).items()}

    def as_facts(self) -> dict[str, str]:
        """For the manifest: `steps.NAME.tensorrt`."""
        return asdict(self)


def plan_facts(config: ModelConfig) -> PlanFacts | None:
    """The facts in a step's config; None where it says nothing, as with plans that others compiled."""
    found: Mapping[str, str | None] = {
        name: parameter(config, f"{_PREFIX}{name.upper()}") for name in PlanFacts.__dataclass_fields__
    }
    if not found["version"] or not found["compute_capability"]:
        return None
    return PlanFacts(**{name: value for name, value in found.items() if value is not None})
