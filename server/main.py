"""The composition root: every part of the server by name, in the order of assembly. Nothing else knows all of them."""

import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from server.api.admin.metrics import metrics_app
from server.api.app import build_app
from server.api.parts import HttpOptions, Parts
from server.api.restricted import restrictions
from server.archive.digest import RememberedFileDigests
from server.archive.staging import stage_folder
from server.archive.unpack import UnpackLimits, unpack
from server.codecs import registry
from server.domain.clock import Clock
from server.domain.cold_start import Staging
from server.domain.model import CPU
from server.domain.ports import BudgetByDevice, Engine, EngineLifecycle, PassingEngine, QuickEngine
from server.engines.completion import complete
from server.engines.devices import budgets, host_memory_bytes
from server.jobs.async_jobs import AsyncJobs
from server.lifespan.expiry import expiry
from server.lifespan.memory_rounds import memory_rounds
from server.lifespan.order import Order, Wishes
from server.lifespan.prefetching import prefetching
from server.lifespan.process import Life
from server.lifespan.with_access_log import with_access_log
from server.lifespan.with_jobs import with_jobs
from server.lifespan.with_tiers import with_tiers
from server.residency.prefetch.prefetcher import Prefetcher
from server.residency.residency import Residency
from server.serving.address import AddressBook
from server.serving.admission import Admission
from server.serving.batcher import Batcher
from server.serving.dispatcher import Dispatcher, DispatchOptions
from server.serving.model_control import ModelControl
from server.serving.passing_on import PassingOn
from server.serving.quick_runs import QuickRuns
from server.settings import Settings, part_options
from server.settings.part_options import default_model
from server.store.disk.cache import DiskCache
from server.store.host.pages import LockedPages, WarmPages, may_lock
from server.store.host.tier import HostTier
from server.store.local import LocalFolder
from server.store.origin import Origin
from server.store.registered import RegisteredFolders
from server.store.resolve import ArchiveStore
from server.store.stager import ArchiveTools
from server.store.threads import StoreThreads
from server.telemetry.access_log import AccessLog
from server.telemetry.access_log_file import AccessLogFile
from server.telemetry.batch_metrics import BatchMetrics
from server.telemetry.metrics import Metrics
from server.telemetry.residency_metrics import ResidencyMetrics
from server.telemetry.response_cache_metrics import response_cache_levels
from server.telemetry.tier_metrics import tier_families, tier_figures
from server.workers.home.assembly import desk_for, listen_to
from server.workers.home.desk import Desk
from server.workers.home.uses_log import UsesLog

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class House:
    """The assembled server."""

    app: Any
    metrics_app: Any
    """What a port for metrics alone answers."""
    life: Life
    memory: BudgetByDevice
    engine_kind: str
    names: Callable[[], Awaitable[list[str]]]
    """The archives that could be asked for."""
    desk: Desk | None
    """Where front-end workers get leases, if there are any."""


def compose(settings: Settings, clock: Clock) -> House:
    """Assemble the server. Call it on the event loop that will serve.

    Raises:
        RoundhouseError, ValueError: a setting that only the part itself can judge (store address, Triton's place).
    """
    threads = StoreThreads()
    registered = RegisteredFolders(settings.load_root)
    metrics = Metrics()
    told = ResidencyMetrics(metrics)
    memory = budgets(settings.memory_budget, settings.gpu_memory_budget, settings.gpu_memory_fraction)
    kind = part_options.engine_kind(settings)
    gpus = sum(device != CPU for device in memory)
    host = _host_tier(settings, gpus, told)
    source = _source(settings, registered, threads, clock, metrics.cold_starts.staged, host)
    engine, lifecycle = _engine(kind, settings, clock, gpus)
    metrics.watch(response_cache_levels(lifecycle.describe))
    residency = Residency(engine, source, memory, clock, part_options.residency(settings), told, lifecycle, host)
    source.share_disk_with(residency.disk)
    admission = Admission(settings.max_in_flight)
    addresses = AddressBook(registered, default_model(settings))
    models = ModelControl(residency, source, registered, addresses)
    order = Order(
        Wishes(
            part_options.single(settings),
            settings.preload,
            settings.pin,
            is_ready_at_once=settings.ping_mode == "live",
        ),
        registered,
        source,
        lifecycle,
        residency,
        models,
        admission,
        (expiry(residency, part_options.shortest_ttl(settings)), memory_rounds(residency.look)),
    )
    access_log = _access_log(settings, metrics)
    batches = BatchMetrics(metrics) if settings.batching == "auto" else None
    batcher = _batcher(settings, engine, batches, clock, gpus)
    access = AccessLog(metrics, residency.parts, access_log, clock) if access_log else None
    dispatcher = Dispatcher(
        residency,
        engine,
        registry.decode,
        clock,
        admission,
        access or metrics,
        DispatchOptions(timeout_s=settings.request_timeout_s, load_wait_s=settings.load_timeout_s),
        batcher.infer if batcher else None,
        QuickRuns(engine, batcher) if isinstance(engine, QuickEngine) else None,
        PassingOn(engine, batcher) if isinstance(engine, PassingEngine) else None,
    )
    metrics.watch(residency.waiting_levels)
    desk = desk_for(settings, engine, residency, addresses, UsesLog(metrics, batches, access), clock)
    if desk is not None:
        metrics.watch(desk.levels)
        listen_to(desk, residency.lending, registered)
    jobs = _jobs(settings, dispatcher, residency, metrics, clock)
    prefetcher = Prefetcher(residency.raising, clock) if settings.prefetch == "on" else None
    metrics.also(tier_families(told, host, prefetcher))
    parts = Parts(
        dispatcher=dispatcher,
        addresses=addresses,
        models=models,
        residency=residency,
        metrics=metrics,
        is_ready=order.is_ready,
        options=HttpOptions(
            max_body_bytes=settings.max_body,
            version=version("roundhouse"),
            restrictions=restrictions(settings.restrict_api),
            default_accept=settings.default_accept or "",
            inference_type=settings.inference_type,
        ),
        facts=lambda: {"engine": lifecycle.describe()} | ({"workers": desk.describe()} if desk else {}),
        tiers=partial(tier_figures, told, host, prefetcher),
        jobs=jobs,
    )
    life = Life(order.begin, order.drain, order.end)
    running = (lambda: admission.running + desk.in_flight) if desk else lambda: admission.running
    guessing = prefetching(prefetcher, running) if prefetcher else None
    return House(
        app=build_app(parts),
        metrics_app=metrics_app(metrics),
        life=with_access_log(with_tiers(with_jobs(life, jobs), host, guessing), access_log),
        memory=memory,
        engine_kind=kind,
        names=source.names,
        desk=desk,
    )


def _access_log(settings: Settings, metrics: Metrics) -> AccessLogFile | None:
    if settings.access_log is None:
        return None
    file = AccessLogFile(settings.access_log, settings.access_log_size)
    metrics.watch(file.levels)
    return file


def _batcher(settings: Settings, engine: Engine, log: BatchMetrics | None, clock: Clock, gpus: int) -> Batcher | None:
    options = part_options.batching(settings, gpus)
    return Batcher(engine, clock, log, options) if options and log else None


def _jobs(
    settings: Settings, dispatcher: Dispatcher, residency: Residency, metrics: Metrics, clock: Clock
) -> AsyncJobs | None:
    """Asynchronous inference, where the settings ask for it."""
    options = part_options.jobs(settings)
    if options is None:
        return None
    from server.jobs.assembly import assemble  # boto3, as in `_source`

    jobs = assemble(options, dispatcher.invoke, clock, residency.is_resident)
    metrics.watch(jobs.levels)
    return jobs


def _host_tier(settings: Settings, gpus: int, told: ResidencyMetrics) -> HostTier | None:
    budget = part_options.host_tier(settings, gpus, host_memory_bytes, partial(told.charged_bytes, CPU))
    if budget is None:
        return None
    is_promise = settings.host_tier is not None and may_lock(settings.host_tier)
    return HostTier(budget, LockedPages() if is_promise else WarmPages())


def _source(
    settings: Settings,
    registered: RegisteredFolders,
    threads: StoreThreads,
    clock: Clock,
    told: Callable[[Staging], None],
    host: HostTier | None,
) -> ArchiveStore:
    origin: Origin | None = None
    if settings.store is not None and settings.store.startswith("s3://"):
        from server.store.s3.options import S3Options
        from server.store.s3.prefix import S3Prefix  # boto3 takes 0.3 s to import, which a folder's users need not pay

        origin = S3Prefix(S3Options.from_url(settings.store, settings.s3_endpoint_url), threads)
    elif settings.store is not None:
        origin = LocalFolder(Path(settings.store), threads)
    digests = RememberedFileDigests()
    stage = partial(
        stage_folder,
        entry=settings.default_model or "" if settings.mode == "single" else "",
    )
    disk = DiskCache(settings.cache_dir, settings.disk_quota, clock, sharing=settings.sharing)
    if host is not None:
        disk.on_discarded(host.forget)
    return ArchiveStore(
        origin,
        registered,
        disk,
        threads,
        clock,
        complete,
        part_options.store(settings),
        UnpackLimits(total_bytes=settings.max_archive),
        ArchiveTools(partial(unpack, learn=digests.learn), stage, digests),
        told,
        sharing=settings.sharing,
    )


def _engine(kind: str, settings: Settings, clock: Clock, gpus: int) -> tuple[Engine, EngineLifecycle]:
    if kind == "triton":
        from server.engines.triton.engine import TritonEngine

        triton = TritonEngine(part_options.triton(settings, gpus), clock, os.environ)
        return triton, triton
    from server.engines.embedded.backends.packed_files import PackedFiles
    from server.engines.embedded.engine import EmbeddedEngine

    if settings.grpc_port is not None:
        _log.warning("no gRPC on port %d: the embedded engine has none; --engine triton has", settings.grpc_port)
    embedded = EmbeddedEngine(
        threads=settings.threads,
        response_cache_bytes=settings.response_cache,
        gpus=gpus,
        packed=PackedFiles(settings.cache_dir / "packed", int(settings.packed_weights)),
        is_split=settings.float32_matmul_precision == "high",
    )
    return embedded, embedded
