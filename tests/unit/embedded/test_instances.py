"""Who may run, and in which order."""

import asyncio
import os
import threading

import pytest

from server.archive.model_config import parse
from server.engines.embedded.running.instances import Instances, count_instances, executions_at_once


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ('backend: "onnxruntime"', 2),
        ('platform: "onnxruntime_onnx"', 2),
        ('backend: "python"', 1),
        ('backend: "python" instance_group [ { count: 3 }, { count: 2 } ]', 5),
        ('backend: "onnxruntime" instance_group { kind: KIND_CPU }', 2),
        ('backend: "onnxruntime" instance_group { kind: KIND_GPU count: 2 gpus: [0, 1] }', 4),
        ('backend: "onnxruntime" instance_group { kind: KIND_GPU }', 1),
    ],
)
def test_instances_are_counted_as_triton_does(config, expected):
    assert count_instances(parse(config)) == expected


def test_an_onnx_session_on_the_cpu_runs_on_every_core_whatever_its_count():
    cores = len(os.sched_getaffinity(0))
    one = parse('backend: "onnxruntime" instance_group { count: 1 }')
    assert executions_at_once(one, "cpu") == cores + 1
    assert executions_at_once(one, "gpu:0") == 1
    assert executions_at_once(parse('backend: "onnxruntime" instance_group { count: 999 }'), "cpu") == 999
    assert executions_at_once(parse('backend: "python" instance_group { count: 1 }'), "cpu") == 1


def test_no_more_than_the_count_can_be_taken():
    instances = Instances(2)
    assert [instances.take_now() for _ in range(3)] == [True, True, False]
    instances.give()
    assert instances.in_use == 1


async def test_coroutines_are_served_in_the_order_in_which_they_came():
    instances, served = Instances(1), []
    await instances.take_async()

    async def one(name):
        await instances.take_async()
        served.append(name)
        instances.give()

    tasks = [asyncio.create_task(one(name)) for name in "abc"]
    await asyncio.sleep(0)
    instances.give()
    await asyncio.gather(*tasks)
    assert served == ["a", "b", "c"]
    assert instances.in_use == 0


async def test_who_is_cancelled_leaves_the_line():
    instances = Instances(1)
    await instances.take_async()
    waiting = asyncio.create_task(instances.take_async())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    instances.give()
    assert instances.in_use == 0


async def test_an_instance_granted_to_a_cancelled_one_goes_on_to_the_next():
    instances = Instances(1)
    await instances.take_async()
    first, second = (asyncio.create_task(instances.take_async()) for _ in range(2))
    await asyncio.sleep(0)
    instances.give()  # granted to the first, which is cancelled before it hears of it
    first.cancel()
    await asyncio.wait_for(second, 5)
    assert first.cancelled()
    assert instances.in_use == 1


async def test_threads_stand_in_the_same_line():
    instances, taken = Instances(1), threading.Event()
    await instances.take_async()

    def thread():
        instances.take()
        taken.set()
        instances.give()

    running = threading.Thread(target=thread)
    running.start()
    assert not taken.is_set()
    instances.give()
    running.join(5)
    assert taken.is_set()
    assert instances.in_use == 0
