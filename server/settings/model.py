"""Every setting, with its meaning, its unit and why its default is what it is.

Sources, strongest first: command-line flags, `ROUNDHOUSE_*` variables, the TOML file of `--config`, SageMaker's own
variables (`settings/sagemaker.py`), the defaults below. `docs/settings.md` is generated from this file.
"""

from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from server.domain.payload import InferenceType
from server.settings.ports import port_range, require_apart
from server.settings.tariff import ArchiveTable, GroupTable, tables

Policy: TypeAlias = Literal["lru", "gdsf", "s3-fifo"]
EngineKind: TypeAlias = Literal["auto", "embedded", "triton"]
Mode: TypeAlias = Literal["auto", "single", "multi"]
Batching: TypeAlias = Literal["auto", "off"]
MatmulPrecision: TypeAlias = Literal["highest", "high"]
Prefetch: TypeAlias = Literal["off", "on"]
PingMode: TypeAlias = Literal["ready", "live"]


def _names(value: object) -> object:
    """Lists may be written with commas on the command line and in variables."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return value


def _entries(value: object) -> object:
    """Lists whose entries may have commas are written with blanks in variables."""
    return tuple(value.split()) if isinstance(value, str) else value


def _range(text: str) -> str:
    port_range(text)
    return text


REPEATABLE: Final = "repeatable"
"""Marks a setting whose flag may be given several times."""
Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_names)]
Entries: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_entries), REPEATABLE]
Groups: TypeAlias = Annotated[tuple[GroupTable, ...], tables("name"), REPEATABLE]
Archives: TypeAlias = Annotated[tuple[ArchiveTable, ...], tables("match"), REPEATABLE]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseModel):
    """See the module. Byte sizes take units (`512MiB`, `4GiB`); times are seconds."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid", frozen=True, protected_namespaces=())

    # --- the door -----------------------------------------------------------------------------------------------
    host: str = "0.0.0.0"  # noqa: S104 - SageMaker's health checks come from outside the container
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of every surface; SageMaker's default. 0 takes a free one and prints it."""
    metrics_port: Port | None = None
    """A further port with nothing but /metrics, for scrapers that must not reach the rest."""
    grpc_port: Port | None = None
    """Where tritonserver answers gRPC (KServe v2; steps under the names that they have in Triton) with `engine triton`.

    Loading and unloading stay with this server. The embedded engine has no gRPC."""
    safe_port_range: Annotated[str, AfterValidator(_range)] | None = None
    """`a-b`: where ports other than `port` must lie, those inside the host included. SageMaker says which are free."""
    restrict_api: Entries = ()
    """`GROUP[,GROUP]:HEADER=VALUE`: calls of these groups need that header, or are answered 403. May be repeated.

    Groups: `inference`, `model-repository` (/models, /v2/repository, /admin) and `health`; as a variable, separated by
    blanks."""
    default_accept: str | None = None
    """Media type for SageMaker's callers who send no Accept, if the model can answer in it. Unset: the model's own."""
    max_body: ByteSize = ByteSize(64 * 1024**2)
    """Largest request body, before and after inflating; Triton's own default limit. Larger ones are answered 413."""
    max_in_flight: PositiveInt = 1024
    """Requests admitted at the same time, waiting ones included; more are answered 503 with Retry-After."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that read, decode and answer plain requests, with `engine triton` (docs/workers.md).

    1: this process does everything. More pay where it is the bottleneck and cores are idle beside it; each takes about
    100 MB."""
    max_waiting: PositiveInt | None = None
    """Of these, how many may wait for archives that are not in memory; more are answered 429/503 with Retry-After.

    Unset: half of `max_in_flight`, so that requests for what is in memory find a place however many wait."""
    max_waiting_per_archive: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Of the places that others leave, the share that may wait for the same archive: no crowd shuts out others."""
    wait_margin: NonNegativeFloat = 1.5
    """A request is refused at once when its wait, predicted from earlier loads, is so many times what it may wait.

    The archive is loaded all the same if that disturbs nobody, for when the caller comes back. 0: never."""
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
    inference_type: InferenceType = "infer"
    """What /invocations and InvokeEndpoint mean: `infer`, or Triton's generate extension, `generate` or streamed.

    /models/.../invoke always infers; /v2/models/... has a path for each."""
    load_root: Path = Path("/opt/ml/models")
    """`POST /models` loads only folders below this one."""
    preload: Names = ()
    """Archives to load before /ping says ready, separated by commas."""
    pin: Names = ()
    """Archives that are preloaded and never evicted, separated by commas."""
    preload_timeout_s: PositiveFloat = 600.0
    """How long the preload of one archive may take; after that the server does not start."""

    # --- residency ----------------------------------------------------------------------------------------------
    memory_budget: ByteSize | None = None
    """Bytes that resident steps may take on the host device. Unset: 70 % of what this container may use.

    Leave room beside it: an ONNX file with its weights inside takes up to its size more while it loads, one at a time
    (`loading_bytes` in /admin/residency says how much now). With the weights in a file beside it, as our builders write
    them, it takes no more."""
    gpu_memory_budget: ByteSize | None = None
    """Bytes per GPU that resident steps may take. Unset: `gpu_memory_fraction` of each GPU's memory."""
    gpu_memory_fraction: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of each GPU's memory that resident steps may take; the rest is for contexts, activations, fragmentation."""
    policy: Policy = "lru"
    """Which archive leaves first when room is needed: `lru` the one that was used longest ago; `gdsf` the least of uses
    x load seconds / bytes, all measured; `s3-fifo` new ones, until they come back.

    What was loaded on request and never used counts as used an hour ago."""
    groups: Groups = ()
    """`GROUP:quota=25%,priority=1`: a group (tenant) is what stands before the first `/` of an archive's name; `*` is
    every other one. The quota, bytes or a share of the budget, holds on each device; a group at it evicts its own.

    May be repeated; as a variable, separated by blanks; in the TOML file, tables `[[groups]]` with a `name`."""
    archives: Archives = ()
    """`MATCH:priority=1,ttl_s=600,pin=true`: what holds for archives of that name, or that match a pattern with `*`.

    Archives of higher priority leave for others only after all others; pinned ones never (`pin` loads them, too).
    Written like `groups`, with `match` in its tables; later entries win."""
    churn_guard_s: NonNegativeFloat = 5.0
    """Seconds after its load for which an archive leaves only if there is no other choice; 0 protects none."""
    idle_ttl_s: PositiveFloat | None = None
    """Archives that nobody asked for so long are unloaded, pinned ones excepted. Unset: only when room is needed."""
    sharing: bool = True
    """Whether steps of equal content are one step, on disk and in memory. `false` is for measuring what that saves."""
    max_parallel_loads: PositiveInt = 2
    """Steps that may load side by side; more fight for disk and cores."""
    leak_alarm: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Share of a device's memory budget that the engine may leak before that is logged, and shown in /admin/residency.

    Measured soon after loads and unloads: what is in memory and charged to no step, and becomes more."""
    renew_engine: Literal["auto", "off"] = "auto"
    """`auto` restarts a tritonserver that leaks so much: requests wait meanwhile, and what was in memory comes back.

    `POST /admin/engine/renew` does it on request. The embedded engine is this process, and is never restarted."""
    failure_ttl_s: PositiveFloat = 30.0
    """How long a failed load is remembered and answered at once; new content is tried at once regardless."""

    # --- tiers --------------------------------------------------------------------------------------------------
    host_tier: ByteSize | None = None
    """Bytes of host memory for files of archives that left the devices, so that they come back without the disk.

    A number is locked into memory if RLIMIT_MEMLOCK allows (`docker run --ulimit memlock=-1`); otherwise the files are
    kept warm in the page cache, which is a hint that the kernel may ignore. 0 keeps none. Unset: on a host with a GPU,
    what resident steps leave of 75 % of this container's memory, as a hint, so that nothing else runs short; on a host
    without, none: there the device is this very memory, which is better spent on `memory_budget`, and the kernel keeps
    files in what is left anyway."""
    prefetch: Prefetch = "off"
    """`on` brings archives one tier up (store, disk, host memory, device) before they are asked for, when the server is
    idle; onto a device only where room is free, and only as long as most guesses are right.

    It pays where callers come by the clock. Off, since people's sessions cannot be guessed: simulated, 1 guess in 8 was
    right and no load was saved; with 5 % of the archives asked for by timers, 6 in 10, and 4 % of the loads from disk.
    """

    # --- disk ---------------------------------------------------------------------------------------------------
    cache_dir: Path = Path("var/cache")
    """Fetched and unpacked archives, content-addressed. Survives restarts; delete it only while no server runs."""
    disk_quota: ByteSize | None = None
    """Bytes the cache may take; least recently used archives leave first. Unset: the disk is the limit."""
    max_archive: ByteSize = ByteSize(64 * 1024**3)
    """Largest unpacked archive; protects the disk from bombs."""

    # --- asynchronous inference ---------------------------------------------------------------------------------
    async_output: str | None = None
    """`s3://bucket/prefix/` for results of InvokeEndpointAsync. Unset: that operation is refused."""
    async_failures: str | None = None
    """`s3://bucket/prefix/` for the reasons of failed jobs. Unset: beside the results, as `...-error.out`."""
    async_inputs: Names = ()
    """`s3://bucket/prefix/,...`: where payloads (InputLocation) may lie. Unset: wherever the server's role may read."""
    async_success_topic: str | None = None
    """ARN of the SNS topic that is told of each result. Unset: nobody is told."""
    async_error_topic: str | None = None
    """ARN of the SNS topic that is told of each failed or expired job. Unset: nobody is told."""
    async_concurrency: PositiveInt = 4
    """Jobs under way at the same time; others wait on disk, and requests that wait for an answer go beside them."""
    async_queue: PositiveInt = 1000
    """Jobs that may wait; more are answered 503 with Retry-After."""
    async_reorder_s: NonNegativeFloat = 60.0
    """How long a job may be passed by others whose archive is in memory, and waits rather than evict what is in use.

    After that strict order holds. 0: always."""
    async_max_input: ByteSize = ByteSize(1024**3)
    """Largest payload of a job, SageMaker's own limit. It is read into memory, for each job that is under way."""

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
    response_cache: ByteSize = ByteSize(256 * 1024**2)
    """Bytes for answers of steps whose config.pbtxt says `response_cache { enable: true }`; 0 keeps none.

    Beside the memory budget, not in it. Room for sixty images that SAM has looked at."""
    batching: Batching = "auto"
    """Whether requests for one entry model that wait at the same time run together: `auto` where that changes no
    result (docs/batching.md), `off` nowhere. An idle model never waits for more."""
    packed_weights: ByteSize = ByteSize(4 * 1024**3)
    """Bytes of disk (`packed/` in the cache folder) for weights of ONNX steps in the form that this processor wants;
    those used longest ago leave first. 0 keeps none.

    For busy steps of the embedded engine: two sessions then share one copy of them in memory (docs/batching.md)."""
    float32_matmul_precision: MatmulPrecision = "high"
    """How exactly busy ONNX steps of the embedded engine multiply FP32 weights. `high`: with 16 of 24 bits, and sums in
    FP32, where the processor has bfloat16 tiles (AMX); as in PyTorch, and finer than the TF32 of GPUs.
    `highest`: FP32. Elsewhere both are FP32 (docs/tuning.md)."""
    threads: PositiveInt | None = None
    """Threads of one inference in the embedded engine. Unset: the cores this process may use."""

    # --- telling ------------------------------------------------------------------------------------------------
    ping_mode: PingMode = "ready"
    """`ready`: /ping is 200 once preloading is done and the engine runs. `live`: as soon as the port is open."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log line written to stderr."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """`json` for machines, `text` for people; `auto` is text on a terminal."""
    access_log: Path | None = None
    """A file that gets one line for each request (docs/access_log.md), for `roundhouse replay`. Unset: none.

    Renaming it begins a new one."""
    access_log_size: ByteSize = ByteSize(1024**3)
    """Bytes from which on the access log becomes `<name>.1`, in the place of the one before."""

    @model_validator(mode="after")
    def _ports_are_apart(self) -> Self:
        require_apart(self.port, {"metrics_port": self.metrics_port, "grpc_port": self.grpc_port}, self.safe_ports)
        return self

    @property
    def safe_ports(self) -> range | None:
        """`safe_port_range` as numbers."""
        return port_range(self.safe_port_range) if self.safe_port_range else None
