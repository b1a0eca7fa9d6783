"""Every setting, with its meaning, its unit and why its default is what it is.

Sources, strongest first: command-line flags, `ROUNDHOUSE_*` variables, the TOML file of `--config`, SageMaker's own
variables (`settings/sagemaker.py`), the defaults below. `docs/settings.md` is generated from this file.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, PositiveFloat, PositiveInt

EngineKind: TypeAlias = Literal["auto", "embedded", "triton"]
Mode: TypeAlias = Literal["auto", "single", "multi"]
PingMode: TypeAlias = Literal["ready", "live"]


def _names(value: object) -> object:
    """Lists may be written with commas on the command line and in variables."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return value


Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_names)]


class Settings(BaseModel):
    """See the module. Byte sizes take units (`512MiB`, `4GiB`); times are seconds."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid", frozen=True, protected_namespaces=())

    # --- the door -----------------------------------------------------------------------------------------------
    host: str = "0.0.0.0"  # noqa: S104 - SageMaker's health checks come from outside the container
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of every surface; SageMaker's default. 0 takes a free one and prints it."""
    max_body: ByteSize = ByteSize(64 * 1024**2)
    """Largest request body, before and after inflating; Triton's own default limit. Larger ones are answered 413."""
    max_in_flight: PositiveInt = 1024
    """Requests admitted at the same time, waiting ones included; more are answered 503 with Retry-After."""
    request_timeout_s: PositiveFloat = 60.0
    """Time for one request, loading included. SageMaker gives a container 60 s to answer."""
    load_timeout_s: PositiveFloat = 45.0
    """How long a request may wait for its archive to become resident before it is answered 429/503 with Retry-After."""
    drain_timeout_s: PositiveFloat = 15.0
    """How long running requests may take to finish after SIGTERM. SageMaker kills 30 s after it; freeing takes 10."""

    # --- what is served -----------------------------------------------------------------------------------------
    store: str | None = None
    """Where archives are: a folder or `s3://bucket/prefix`. `TargetModel` names one below it; loaded on demand."""
    s3_endpoint_url: str | None = None
    """Another S3 endpoint than AWS's (MinIO, moto, a gateway). `AWS_ENDPOINT_URL` works as well."""
    refresh_s: PositiveFloat = 2.0
    """How old the last look at an archive's ETag or mtime may be before a request looks again."""
    mode: Mode = "auto"
    """`single` serves one model on /invocations without TargetModel, `multi` many; `auto` decides by what is given."""
    model: Path | None = None
    """Single-model mode: the folder with the Triton repository. SageMaker's is /opt/ml/model."""
    default_model: str | None = None
    """Which model answers /invocations when no TargetModel is given."""
    load_root: Path = Path("/opt/ml/models")
    """`POST /models` loads only folders below this one."""
    preload: Names = ()
    """Archives to load before /ping says ready, separated by commas."""
    pin: Names = ()
    """Archives that are preloaded and never evicted, separated by commas."""

    # --- residency ----------------------------------------------------------------------------------------------
    memory_budget: ByteSize | None = None
    """Bytes that resident steps may take on the host device. Unset: 70 % of what this container may use.

    Leave room beside it: while an ONNX graph loads, it takes about twice what it is charged with afterwards."""
    gpu_memory_budget: ByteSize | None = None
    """Bytes per GPU. Unset: 90 % of each GPU's memory."""
    max_parallel_loads: PositiveInt = 2
    """Steps that may load side by side; more fight for disk and cores."""
    failure_ttl_s: PositiveFloat = 30.0
    """How long a failed load is remembered and answered at once; new content is tried at once regardless."""

    # --- disk ---------------------------------------------------------------------------------------------------
    cache_dir: Path = Path("var/cache")
    """Fetched and unpacked archives, content-addressed. Survives restarts; delete it only while no server runs."""
    disk_quota: ByteSize | None = None
    """Bytes the cache may take; least recently used archives leave first. Unset: the disk is the limit."""
    max_archive: ByteSize = ByteSize(64 * 1024**3)
    """Largest unpacked archive; protects the disk from bombs."""

    # --- engine -------------------------------------------------------------------------------------------------
    engine: EngineKind = "auto"
    """`embedded` runs steps in this process, `triton` in a tritonserver; `auto` takes Triton inside its container."""
    triton_root: Path | None = None
    """Folder of the Triton to run. Unset: /opt/tritonserver, then .triton (`make triton`), then PATH."""
    triton_args: str = ""
    """Further tritonserver flags, appended as they are."""
    triton_shm_default: ByteSize = ByteSize(16 * 1024**2)
    """Shared memory each Python step of Triton starts with. SageMaker does not let /dev/shm be enlarged."""
    triton_shm_growth: ByteSize = ByteSize(1024**2)
    """Shared memory a Python step of Triton grows by."""
    threads: PositiveInt | None = None
    """Threads of one inference in the embedded engine. Unset: the cores this process may use."""

    # --- telling ------------------------------------------------------------------------------------------------
    ping_mode: PingMode = "ready"
    """`ready`: /ping is 200 once preloading is done and the engine runs. `live`: as soon as the port is open."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log line written to stderr."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """`json` for machines, `text` for people; `auto` is text on a terminal."""
