"""Shows what the live servers wrote with each test that fails."""

from collections.abc import Generator

import pytest

from tests.integration import live_server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for server in live_server.started:
            title = f"roundhouse serve, process {server.pid}, exit code {server.process.poll()}"
            report.sections.append((title, live_server.tail(server)))
    if report.when == "teardown":  # those that ended belong to this test or to earlier ones
        live_server.started[:] = [server for server in live_server.started if server.is_running]
    return report
