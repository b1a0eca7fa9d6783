"""From an ONNX graph to a TensorRT plan, with TensorRT's Python API of 10.x and 11.x.

Networks are strongly typed, as 11.x has them only: a graph's own types decide (FP16: `builders/export/half.py`), and no
builder flag changes them. A plan runs on the TensorRT and the GPU it was made with; the facts returned say which.

Nothing here has met a GPU yet: it is tested against `tests/fakes/tensorrt_11.py`, which knows the names that the real
11.4 binding has and no others. docs/gpu.md tells what has run where.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import click

from builders.compile.gpu import Gpu, the_gpu
from builders.pipeline.extras import MissingExtra
from builders.triton_config.accelerated import WORKSPACE_BYTES
from builders.triton_config.profile import Profile
from server.archive.plan_facts import PlanFacts

Hardware: TypeAlias = Literal["none", "same_compute_capability", "ampere_plus"]
_OLDEST_MAJOR = 10


class PlanFailed(click.ClickException):
    """TensorRT did not make a plan; the text has its reasons."""


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How to compile. The defaults make the fastest plan, which runs on this kind of GPU and this TensorRT only."""

    workspace_bytes: int = WORKSPACE_BYTES
    timing_cache: Path | None = None
    """File with the timings of earlier builds; read where it is there, and written. Saves most of the time."""
    is_version_compatible: bool = False
    """Runs on later TensorRT versions too; tritonserver needs --backend-config=tensorrt,version-compatible=true."""
    hardware: Hardware = "none"
    """`ampere_plus` runs on every GPU from Ampere on, `same_compute_capability` on its siblings; both are slower."""


def need_tensorrt() -> Any:
    """Import TensorRT.

    Raises:
        MissingExtra: it is not installed, or its libraries do not load; says how to get it.
        PlanFailed: it is older than 10.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise MissingExtra(
            f"TensorRT's Python module cannot be imported ({error}). Compile inside the container that serves: "
            "docker build --target compile -f Dockerfile.gpu  does  pip install tensorrt-cu13  there (docs/gpu.md)"
        ) from error
    major = int(str(tensorrt.__version__).split(".", maxsplit=1)[0])
    if major < _OLDEST_MAJOR:
        raise PlanFailed(f"TensorRT {tensorrt.__version__} is too old; 10 or 11 is needed")
    return tensorrt


def build_plan(
    graph: Path,
    to: Path,
    profile: Profile,
    options: PlanOptions = PlanOptions(),
    *,
    trt: Any = None,
    gpu: Gpu | None = None,
) -> PlanFacts:
    """Compile the ONNX file `graph` (external weights beside it) to the file `to`; returns what it was compiled for.

    `trt` and `gpu` are found on this host where they are not given.

    Raises:
        MissingExtra: no TensorRT.
        NoUsableGpu: no GPU, or several kinds.
        PlanFailed: the graph does not parse, the profile does not fit it, or no plan comes out.
    """
    trt = trt or need_tensorrt()
    gpu = gpu or the_gpu()
    logger = trt.Logger()
    builder = trt.Builder(logger)
    network = _parsed_network(trt, builder, logger, graph)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if profile:
        _add_profile(builder, config, profile, graph)
    cache = _use_timing_cache(config, options.timing_cache)
    _use_compatibility(trt, config, options)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise PlanFailed(f"TensorRT {trt.__version__} made no plan of {graph.name}; its log above says why")
    to.write_bytes(bytes(plan))
    if options.timing_cache is not None:
        options.timing_cache.parent.mkdir(parents=True, exist_ok=True)
        options.timing_cache.write_bytes(bytes(cache.serialize()))
    return PlanFacts(
        version=str(trt.__version__),
        compute_capability=gpu.compute_capability,
        gpu=gpu.name,
        hardware=options.hardware,
        version_compatible="true" if options.is_version_compatible else "false",
    )


def _parsed_network(trt: Any, builder: Any, logger: Any, graph: Path) -> Any:
    # 10.x must be told to believe the graph's types; 11.x always does, and ignores the flag.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):  # from the file: external weights are looked for beside it
        reasons = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise PlanFailed(f"TensorRT {trt.__version__} cannot parse {graph.name}: {_joined(reasons)}")
    return network


def _joined(reasons: Sequence[str]) -> str:
    return "\n  ".join(["", *reasons]) if reasons else "it gives no reason"


def _add_profile(builder: Any, config: Any, shapes: Profile, graph: Path) -> None:
    profile = builder.create_optimization_profile()
    for name, allowed in shapes.items():
        try:
            profile.set_shape(name, allowed.least, allowed.best, allowed.most)
        except (ValueError, RuntimeError) as error:
            raise PlanFailed(f"the profile of input {name!r} is not usable: {error}") from error
    if config.add_optimization_profile(profile) < 0:
        raise PlanFailed(f"TensorRT refuses the profile of {graph.name}: {', '.join(shapes)}")


def _use_timing_cache(config: Any, file: Path | None) -> Any:
    """Start from earlier timings where they are of this TensorRT and GPU, else from none."""
    known = file.read_bytes() if file is not None and file.is_file() else b""
    cache = config.create_timing_cache(known)
    if known and (cache is None or not config.set_timing_cache(cache, ignore_mismatch=False)):
        known = b""
        cache = config.create_timing_cache(known)
    if not known:
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _use_compatibility(trt: Any, config: Any, options: PlanOptions) -> None:
    if options.is_version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware != "none":
        level = trt.HardwareCompatibilityLevel
        config.hardware_compatibility_level = getattr(level, options.hardware.upper())
