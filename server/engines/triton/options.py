"""What the Triton engine can be told. Plain values; `main.py` fills them from the settings."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TritonOptions:
    """Sizes are bytes, times seconds."""

    runtime_dir: Path
    """Where the engine keeps its repository. On the file system of the staged steps, files are hard-linked."""
    root: Path | None = None
    """Folder of the Triton to run. `None`: found by `discovery`."""
    extra_args: tuple[str, ...] = ()
    """Further tritonserver flags as `--name=value`; unknown ones, and those that we set ourselves, are refused."""
    shm_default_bytes: int = 16 * 1024**2
    """Shared memory that each Python instance starts with. Only touched pages take memory."""
    shm_growth_bytes: int = 1024**2
    """Shared memory that a Python instance grows by."""
    response_cache_bytes: int = 0
    """For the responses of steps whose configs say `response_cache { enable: true }`; 0: none is kept."""
    load_threads: int = 4
    """Threads with which Triton starts the instances of a model side by side."""
    http_threads: int = 8
    """Threads that read and write requests. Loads go over gRPC, so none of these is ever held by one."""
    connections: int = 64
    """Keep-alive connections, which is the number of requests that can be inside Triton at once; others queue here."""
    start_timeout_s: float = 60.0
    """How long a start may take until Triton says ready (0.3 s on CPU, tens of seconds with a cold GPU driver)."""
    stop_timeout_s: float = 10.0
    """How long Triton may take to finalize its models after SIGTERM before it is killed."""
    stuck_after_s: float = 5.0
    """How often a long load is looked at: one whose stub is gone twice in a row will never end."""
    unload_timeout_s: float = 30.0
    """How long a model may take to go (1.1 s is usual) before its processes are killed."""
    gpus: int = 0
    """GPUs of this host: where instances of KIND_AUTO go."""
    grpc: tuple[str, int] | None = None
    """Address and port where tritonserver answers others over gRPC as well. `None`: only us, on loopback."""
    safe_ports: range | None = None
    """Where its ports on loopback are taken from. `None`: wherever the system has one."""
    log_lines: int = 400
    """How many of Triton's last log lines are kept for error messages and `describe`."""
