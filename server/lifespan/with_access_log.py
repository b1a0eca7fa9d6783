"""The access log in the life of the server: the last to end, so that it has the last request too."""

import asyncio

from server.lifespan.process import Life
from server.telemetry.access_log_file import AccessLogFile


def with_access_log(life: Life, file: AccessLogFile | None) -> Life:
    """Return the life of a server that also writes an access log."""
    if file is None:
        return life

    async def begin() -> None:
        file.begin()
        await life.begin()

    async def end() -> None:
        await life.end()
        await asyncio.to_thread(file.close)

    return Life(begin, life.drain, end)
