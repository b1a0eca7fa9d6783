"""Puts asynchronous inference together, with boto3's clients. Blocking: boto3 takes a moment to read its models."""

from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config

from server.domain.clock import Clock
from server.jobs.async_inference import Places
from server.jobs.async_jobs import AsyncJobs, JobOptions
from server.jobs.journal import Journal
from server.jobs.journal_files import JournalFiles
from server.jobs.locations import S3Folder
from server.jobs.notify import Silence, SnsTopics, Topic
from server.jobs.object_store import S3Objects
from server.jobs.options import AsyncOptions
from server.jobs.ports import Invoke, Notifier
from server.jobs.processing import Processing
from server.jobs.worker import Worker
from server.store.s3.options import S3Options
from server.store.threads import StoreThreads


def assemble(
    options: AsyncOptions, invoke: Invoke, clock: Clock, is_resident: Callable[[str], bool] = lambda _: False
) -> AsyncJobs:
    """Make what `main` hands to the surfaces. Raises ValueError for what is no S3 folder, or no SNS topic."""
    output = S3Folder.read(options.output)
    places = Places(
        output,
        S3Folder.read(options.failures) if options.failures else output,
        tuple(map(S3Folder.read, options.inputs)),
    )
    # Not the pools of the archive store: a load must not wait for a thousand results, nor they for it.
    threads = StoreThreads(checks=2 * options.concurrency, transfers=2)
    parallel = max(S3Options("").transfer_threads, options.concurrency)  # what the pool of connections is sized by
    s3 = S3Options(output.bucket, endpoint_url=options.s3_endpoint_url, transfer_threads=parallel)
    objects = S3Objects(s3.client, threads, options.max_input_bytes)
    journal = Journal(JournalFiles(options.journal_dir))
    processing = Processing(invoke, objects, journal, threads, clock.wall, options.reorder_s)
    worker = Worker(processing, objects, _notifier(options, threads), journal, threads, clock)
    job_options = JobOptions(places, options.concurrency, options.queue_limit, options.reorder_s)
    return AsyncJobs(worker, journal, threads, clock, job_options, is_resident=is_resident)


def _notifier(options: AsyncOptions, threads: StoreThreads) -> Notifier:
    success = Topic.read(options.success_topic) if options.success_topic else None
    error = Topic.read(options.error_topic) if options.error_topic else None
    if success is None and error is None:
        return Silence()
    return SnsTopics(_sns, success, error, threads)


def _sns(region: str) -> Any:
    """An SNS client, as patient as the store's; another endpoint than AWS's is `AWS_ENDPOINT_URL_SNS`."""
    patience = S3Options("")
    config = Config(
        connect_timeout=patience.connect_timeout_s,
        read_timeout=patience.read_timeout_s,
        retries={"total_max_attempts": patience.attempts, "mode": "standard"},
    )
    return boto3.session.Session().client("sns", region_name=region, config=config)
