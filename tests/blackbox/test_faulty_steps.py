"""Python steps that raise, leave or die: the caller hears of it, and the next request is served."""

from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.blackbox.client import outputs, text
from tests.integration.until import until

MOODY = "moody.tar.gz"


def hello(client) -> bool:
    """Whether the step answers."""
    return client.ask(MOODY, text("hello")).status_code == 200


@pytest.mark.parametrize("words", ["raise", "error", "sys.exit", "die"])
def test_a_step_that_fails_fails_one_request(multi, words):
    assert hello(multi)
    charged = multi.charged_bytes()
    failed = multi.ask(MOODY, text(words))
    assert failed.status_code in (500, 503)
    assert failed.json()["error"]
    assert outputs(multi.ask(MOODY, text("hello"))) == {"OUTPUT0": ["hello"]}
    assert multi.leases() == 0
    assert multi.charged_bytes() <= 2 * charged


def test_a_step_that_dies_again_and_again_is_served_in_the_end(multi):
    for _ in range(3):
        assert multi.ask(MOODY, text("die")).status_code in (500, 503)
    until(lambda: hello(multi), what="an answer")


def test_the_death_of_a_step_harms_no_other(multi):
    assert hello(multi)
    assert multi.ask("mixed.tar.gz").status_code == 200
    with ThreadPoolExecutor(4) as pool:
        others = [
            pool.submit(multi.ask, name) for name in ("mixed.tar.gz", "linear.tar.gz", "echo.tar.gz") for _ in range(4)
        ]
        assert multi.ask(MOODY, text("die")).status_code in (500, 503)
        assert {each.result().status_code for each in others} == {200}
    until(lambda: hello(multi), what="an answer")


def test_no_process_is_left_of_steps_that_died(multi):
    """Triton never reaps the process of a step that died: a zombie, without memory, until tritonserver ends."""

    def processes(*, dead=False):
        children = psutil.Process(multi.live.pid).children(recursive=True)
        return [child.pid for child in children if (child.status() == psutil.STATUS_ZOMBIE) is dead]

    until(lambda: hello(multi), what="an answer")
    before = len(processes())
    assert multi.ask(MOODY, text("die")).status_code in (500, 503)
    until(lambda: hello(multi), what="an answer")
    until(lambda: len(processes()) <= before, what="as many processes as before")
    if multi.engine == "embedded":
        assert processes(dead=True) == []
