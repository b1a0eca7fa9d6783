"""What an operator decides about asynchronous inference. Plain values; `main.py` fills them from the settings."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AsyncOptions:
    """See the settings of the same names, `async_...`."""

    output: str
    failures: str | None
    journal_dir: Path
    success_topic: str | None = None
    error_topic: str | None = None
    s3_endpoint_url: str | None = None
    concurrency: int = 4
    queue_limit: int = 1000
    reorder_s: float = 60.0
    max_input_bytes: int = 1 << 30
    inputs: tuple[str, ...] = ()
