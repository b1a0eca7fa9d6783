"""Jobs begin after everything that they need, drain beside the requests, and end before what they used."""

import asyncio

from server.lifespan.process import Life
from server.lifespan.with_jobs import with_jobs


class Story:
    """The server's life and the jobs', written down together."""

    def __init__(self, name, told):
        self.name, self.told = name, told

    async def begin(self):
        self.told.append(f"{self.name} begin")

    async def drain(self, timeout_s):
        self.told.append(f"{self.name} drain {timeout_s:g}")
        await asyncio.sleep(0)
        self.told.append(f"{self.name} drained")

    async def end(self):
        self.told.append(f"{self.name} end")


async def test_the_order():
    told = []
    server, jobs = Story("server", told), Story("jobs", told)
    life = with_jobs(Life(server.begin, server.drain, server.end), jobs)
    await life.begin()
    await life.drain(15.0)
    await life.end()
    assert told[:2] == ["server begin", "jobs begin"]
    assert told[2:4] == ["server drain 15", "jobs drain 15"], "side by side: they share the time"
    assert told[-2:] == ["jobs end", "server end"]


def test_without_jobs_nothing_changes():
    server = Story("server", [])
    life = Life(server.begin, server.drain, server.end)
    assert with_jobs(life, None) is life
