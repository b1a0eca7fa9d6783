"""What the settings mean for each part: from `Settings` to the options that the part takes."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from server.engines.triton.options import TritonOptions
from server.jobs.options import AsyncOptions
from server.residency.options import ResidencyOptions
from server.serving.batch_rules import ALL_BACKENDS
from server.serving.batcher import BatchOptions
from server.settings.engine_version import engine_version
from server.settings.model import Settings
from server.settings.tariff import tariff
from server.store.freshness import StoreOptions

SINGLE: Final = "model"
"""What the one model of single-model mode is called where `default_model` does not say it."""
HOST_TIER_SHARE: Final = 0.75
"""Of the container's memory, for resident steps and the host tier together; the rest is for requests and the process
itself."""
LEAST_WAITING: Final = 16
"""However few requests may be inside, so many may wait."""
LOOK_FOR_S: Final = 120.0
LONGEST_LEASE_S: Final = 0.5
FRONT_END: Final = {
    "batching", "default_accept", "engine", "inference_type", "log_format", "log_level", "max_body", "max_in_flight",
    "request_timeout_s", "restrict_api", "workers",
}  # fmt: skip
"""What front-end workers go by."""
CONTAINERS_TRITON: Final = Path("/opt/tritonserver/bin/tritonserver")


def single(settings: Settings) -> tuple[str, Path] | None:
    """Single-model mode: what the model is called, and where it lies."""
    if settings.mode != "single" or settings.model is None:
        return None
    return settings.default_model or SINGLE, settings.model.resolve()


def default_model(settings: Settings) -> str | None:
    """The archive that is meant where a request names none."""
    only = single(settings)
    return only[0] if only else settings.default_model


def engine_kind(settings: Settings) -> Literal["embedded", "triton"]:
    """The engine that the settings name; `auto` takes Triton only where it is the container's own."""
    if settings.engine == "auto":
        return "triton" if CONTAINERS_TRITON.is_file() else "embedded"
    return settings.engine


def triton(settings: Settings, gpus: int) -> TritonOptions:
    """Raises ValueError: `triton_args` has a quotation mark that is not closed."""
    return TritonOptions(
        runtime_dir=settings.cache_dir / "triton",
        root=settings.triton_root,
        extra_args=tuple(shlex.split(settings.triton_args)),
        shm_default_bytes=settings.triton_shm_default,
        shm_growth_bytes=settings.triton_shm_growth,
        response_cache_bytes=settings.response_cache,
        gpus=gpus,
        grpc=(settings.host, settings.grpc_port) if settings.grpc_port is not None else None,
        safe_ports=settings.safe_ports,
    )


def batching(settings: Settings, gpus: int) -> BatchOptions | None:
    """How requests are merged; None: not at all. Triton batches single models itself."""
    if settings.batching == "off":
        return None
    if engine_kind(settings) == "triton":
        return BatchOptions(self_batching=frozenset({ALL_BACKENDS}))
    cores = len(os.sched_getaffinity(0))
    return BatchOptions(side_by_side=2 if gpus else max(2, cores) + 2, self_batching=frozenset({"python", "dali"}))


def residency(settings: Settings) -> ResidencyOptions:
    """How archives come and go."""
    return ResidencyOptions(
        policy=settings.policy,
        churn_guard_s=settings.churn_guard_s,
        max_parallel_loads=settings.max_parallel_loads,
        failure_ttl_s=settings.failure_ttl_s,
        time_to_live_s=settings.idle_ttl_s,
        tariff=tariff(settings.archives, settings.groups),
        max_waiting=settings.max_waiting or max(LEAST_WAITING, settings.max_in_flight // 2),
        max_waiting_per_archive=settings.max_waiting_per_archive,
        wait_margin=settings.wait_margin,
        leak_alarm=settings.leak_alarm,
        renews_engine=settings.renew_engine == "auto",
        preload_timeout_s=settings.preload_timeout_s,
        footprint_file=settings.cache_dir / f"footprints-{engine_kind(settings)}.json",  # they differ by engine
        footprints_of=engine_version(engine_kind(settings), settings.triton_root),
        close_timeout_s=5.0,
    )


def host_tier(
    settings: Settings, gpus: int, host_memory: Callable[[], int], resident: Callable[[], int]
) -> Callable[[], int] | None:
    """Bytes that the host tier may keep now; None: there is none. `resident`: what steps in host memory take now."""
    fixed = settings.host_tier
    if fixed is not None:
        return (lambda: int(fixed)) if fixed else None
    if not gpus:
        return None
    share = int(host_memory() * HOST_TIER_SHARE)
    return lambda: max(0, share - resident())


def shortest_ttl(settings: Settings) -> float:
    """By which time to live to look for archives that outlived theirs. There always is one: it may be said later."""
    said = [settings.idle_ttl_s, *(each.ttl_s for each in settings.archives)]
    return min((ttl_s for ttl_s in said if ttl_s is not None), default=LOOK_FOR_S)


def store(settings: Settings) -> StoreOptions:
    """How often the store is asked for news."""
    refresh_s = settings.refresh_s - lease_valid_s(settings)  # a lease may be used for so long after the last look
    return StoreOptions(refresh_s=refresh_s, refresh_ahead_s=refresh_s / 2)


def lease_valid_s(settings: Settings) -> float:
    """How long a front-end worker may use a lease that is not renewed. 0: there are no workers."""
    return min(LONGEST_LEASE_S, settings.refresh_s / 4) if settings.workers > 1 else 0.0


def front_end(settings: Settings) -> str:
    """The settings that a front-end worker needs, as JSON.

    Raises:
        ValueError: this engine has none.
    """
    if engine_kind(settings) != "triton":
        raise ValueError(
            "--workers needs --engine triton: the embedded engine runs in this very process, and other processes "
            "cannot reach it. For more cores set --threads, or run several servers behind a load balancer"
        )
    return settings.model_dump_json(include=FRONT_END)


def jobs(settings: Settings) -> AsyncOptions | None:
    """Asynchronous inference, where the settings say where its results go.

    Raises:
        ValueError: they do not, and yet say more about it.
    """
    if settings.async_output is None:
        said = (
            settings.async_failures,
            settings.async_inputs,
            settings.async_success_topic,
            settings.async_error_topic,
        )
        if any(said):
            raise ValueError(
                "async_failures, async_inputs and the topics need async_output, which says where results go"
            )
        return None
    return AsyncOptions(
        output=settings.async_output,
        failures=settings.async_failures,
        journal_dir=settings.cache_dir / "jobs",
        success_topic=settings.async_success_topic,
        error_topic=settings.async_error_topic,
        s3_endpoint_url=settings.s3_endpoint_url,
        concurrency=settings.async_concurrency,
        queue_limit=settings.async_queue,
        reorder_s=settings.async_reorder_s,
        max_input_bytes=settings.async_max_input,
        inputs=settings.async_inputs,
    )
