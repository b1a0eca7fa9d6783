"""May this host run that TensorRT plan? Asked before Triton is: its own refusal names neither cause nor cure.

A plan without facts (compiled by others) is left to Triton's judgement, and so is everything that is not known here.
"""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.archive.model_config import parse
from server.archive.plan_facts import AMPERE_PLUS, PlanFacts, plan_facts
from server.domain.errors import UnsupportedModel
from server.domain.model import Step
from server.engines.devices import Gpu
from server.engines.triton.loading.plan_host import PlanHost

_log = logging.getLogger("roundhouse.triton")
_AMPERE: Final = (8, 0)
_CURE: Final = (
    "compile it for this host: `roundhouse build plans ARCHIVE`, inside the container that serves (docs/gpu.md)"
)


class PlanCheck:
    """Refuses steps whose plan was compiled for another GPU or another TensorRT."""

    def __init__(self, look_around: Callable[[], PlanHost]) -> None:
        """`look_around` may block, and is called once, when the first plan comes."""
        self._host = cache(look_around)

    def __call__(self, step: Step) -> None:
        """Pass, or raise UnsupportedModel. Blocks on the first plan."""
        if step.backend != "tensorrt":
            return
        config = parse((step.directory / "config.pbtxt").read_text())
        facts = plan_facts(config)
        if facts is None:
            _log.info("step %r does not say what its plan was compiled for; Triton will tell", step.name)
            return
        host = self._host()
        if problem := misfit(facts, _gpus_of(config, host), host.tensorrt):
            raise UnsupportedModel(f"step {step.name!r} is a TensorRT plan {problem}; {_CURE}")
        if facts.hardware == "none" and any(gpu.name != facts.gpu for gpu in host.gpus):
            _log.warning("step %r was compiled on a %s: expect less speed here", step.name, facts.gpu)


def _gpus_of(config: ModelConfig, host: PlanHost) -> tuple[Gpu, ...]:
    """The GPUs that instances will run on: those that the config names, or all."""
    named = {index for group in config.instance_group for index in group.gpus}
    return tuple(gpu for index, gpu in enumerate(host.gpus) if not named or index in named)


def misfit(plan: PlanFacts, gpus: Sequence[Gpu], tensorrt: str) -> str:
    """Why the plan cannot run, "" where nothing speaks against it. Pure."""
    if not gpus:
        return f"for a {plan.gpu or 'GPU'}, and this host has no GPU"
    for gpu in gpus:
        if not _fits(plan, gpu):
            wanted = "Ampere or later" if plan.hardware == AMPERE_PLUS else plan.compute_capability
            return (
                f"for compute capability {wanted} ({plan.gpu}), and this host's {gpu.name} has {gpu.compute_capability}"
            )
    if tensorrt and not _speaks(plan, tensorrt):
        return f"of TensorRT {plan.version}, and this host has TensorRT {tensorrt}"
    return ""


def _fits(plan: PlanFacts, gpu: Gpu) -> bool:
    if plan.hardware == AMPERE_PLUS:
        return _numbers(gpu.compute_capability) >= _AMPERE
    return gpu.compute_capability == plan.compute_capability


def _speaks(plan: PlanFacts, tensorrt: str) -> bool:
    """Versions are compared as far as both are known: a library's name has three parts, a module's version four."""
    made, here = _numbers(plan.version), _numbers(tensorrt)
    known = min(len(made), len(here))
    if plan.version_compatible == "true":
        return made[:1] == here[:1] and here[:known] >= made[:known]
    return made[:known] == here[:known]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
