"""tritonserver's command line as a value: known flags only, in a fixed order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from server.domain.errors import ClientError

LOOPBACK: Final = "127.0.0.1"
OWN_KEY: Final = "triton-grpc-protocol-roundhouse"
"""The gRPC header that our calls carry where others may call too. Triton puts the first words before each key."""
_OURS_ALONE: Final = "model-repository,model-config,shared-memory,statistics,trace,logging"
"""gRPC services that stay with us: who loads behind residency's back makes its ledger wrong."""

OPERATOR_FLAGS: Final = frozenset(
    {
        "allow-cpu-metrics", "allow-gpu-metrics", "allow-metrics", "backend-config", "buffer-manager-thread-count",
        "cache-config", "cache-directory", "cuda-memory-pool-byte-size", "cuda-virtual-address-size",
        "enable-peer-access", "exit-timeout-secs", "grpc-infer-allocation-pool-size", "host-policy",
        "http-thread-count", "log-error", "log-format", "log-info", "log-verbose", "log-warning", "metrics-address",
        "metrics-config", "metrics-interval-ms", "metrics-port", "min-supported-compute-capability",
        "model-load-gpu-limit", "model-load-retry-count", "model-load-thread-count", "pinned-memory-pool-byte-size",
        "rate-limit", "rate-limit-resource", "repoagent-directory", "trace-config",
    }
)  # fmt: skip
"""What an operator may add. All other flags are ours: they say how we talk to Triton and who may."""

REPEATABLE_FLAGS: Final = frozenset(
    {"backend-config", "cache-config", "cuda-memory-pool-byte-size", "cuda-virtual-address-size", "host-policy",
     "metrics-config", "model-load-gpu-limit", "rate-limit-resource", "trace-config"}
)  # fmt: skip


class UnknownFlag(ClientError):
    """A tritonserver flag that does not exist, or that only the engine may set."""


@dataclass(frozen=True, slots=True)
class ServerFlags:
    """Everything the engine decides about one start of tritonserver."""

    repository: Path
    backends: Path
    http_port: int
    grpc_port: int
    shm_prefix: str
    grpc_address: str = LOOPBACK
    grpc_secret: str = ""
    """What our own gRPC calls show (`OWN_KEY`) where others may call too; "" where nobody else can."""
    shm_default_bytes: int = 16 * 1024**2
    shm_growth_bytes: int = 1024**2
    load_threads: int = 4
    http_threads: int = 8
    exit_timeout_s: int = 5
    caches: Path | None = None
    response_cache_bytes: int = 0
    """For the responses of models that ask for it; 0, or no folder of cache libraries: no cache."""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """From `parse_extra`: they win over our defaults, and repeatable ones are added to ours."""

    def argv(self) -> tuple[str, ...]:
        """The arguments after the program's name, one `--name=value` each."""
        flags: dict[str, tuple[str, ...]] = {
            "model-repository": (str(self.repository),),
            "backend-directory": (str(self.backends),),
            "model-control-mode": ("explicit",),
            # Staged configs are complete; completing them again would start every Python stub twice.
            "disable-auto-complete-config": (),
            # Ready means: answers. Which models are loaded is residency's business.
            "strict-readiness": ("false",),
            "exit-on-error": ("false",),
            "exit-timeout-secs": (str(self.exit_timeout_s),),
            "allow-http": ("true",),
            "http-address": (LOOPBACK,),
            "http-port": (str(self.http_port),),
            "http-thread-count": (str(self.http_threads),),
            "allow-grpc": ("true",),
            "grpc-address": (self.grpc_address,),
            "grpc-port": (str(self.grpc_port),),
            "allow-metrics": ("false",),
            "model-load-thread-count": (str(self.load_threads),),
            "log-verbose": ("0",),
            "backend-config": (
                f"python,shm-region-prefix-name={self.shm_prefix}",
                f"python,shm-default-byte-size={self.shm_default_bytes}",
                f"python,shm-growth-byte-size={self.shm_growth_bytes}",
            ),
        }
        if self.grpc_secret:
            key = OWN_KEY.removeprefix("triton-grpc-protocol-")
            flags["grpc-restricted-protocol"] = (f"{_OURS_ALONE}:{key}={self.grpc_secret}",)
        if self.caches is not None and self.response_cache_bytes and "cache-config" not in self.extra:
            flags["cache-directory"] = (str(self.caches),)
            flags["cache-config"] = (f"local,size={self.response_cache_bytes}",)
        for name, values in self.extra.items():
            flags[name] = (*flags.get(name, ()), *values) if name in REPEATABLE_FLAGS else values[-1:]
        return tuple(_render(flags))


def parse_extra(arguments: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read an operator's further flags, each as `--name=value`.

    Raises:
        UnknownFlag: a flag that is not in `OPERATOR_FLAGS`, or one without a value.
    """
    found: dict[str, tuple[str, ...]] = {}
    for argument in arguments:
        name, has_value, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not has_value:
            raise UnknownFlag(f"{argument!r} is not a tritonserver flag; write it as --name=value")
        if name not in OPERATOR_FLAGS:
            raise UnknownFlag(f"the tritonserver flag --{name} does not exist or is set by the engine itself")
        found[name] = (*found.get(name, ()), value)
    return found


def _render(flags: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [
        argument
        for name, values in flags.items()
        for argument in ([f"--{name}={value}" for value in values] if values else [f"--{name}"])
    ]
