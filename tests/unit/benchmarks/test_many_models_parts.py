"""What the scenario of many models is made of: its fleet, its open loop, its judgement, its figures."""

import asyncio
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.fleet.archives import Fleet
from benchmarks.fleet.encoder import Shape, embed, encoder_weights, head_weights, score
from benchmarks.load.open_loop import Answered, Client, Reply, put
from benchmarks.many_models.asking import Schedule, Verdicts, schedule
from benchmarks.many_models.metrics import read
from benchmarks.many_models.probing import Costs
from benchmarks.many_models.references import miss_curves, references
from benchmarks.many_models.report import charts, tables
from benchmarks.many_models.running import SETTLED_S, empty, settled
from benchmarks.many_models.scorecard import gains, scorecard
from benchmarks.many_models.trend import growth, slope
from benchmarks.many_models.watching import Sample
from benchmarks.traffic.trace import Trace

SMALL = Shape(vocabulary=32, tokens=4, layers=2, width=16, attention_heads=2, classes=4)
MB = 10**6


@pytest.mark.builders
def test_the_graphs_compute_what_the_reference_says(tmp_path):
    import onnxruntime as ort

    from benchmarks.fleet.graphs import encoder_files, head_file

    weights, head = encoder_weights(SMALL, (1,)), head_weights(SMALL, (2,))
    for name, content in encoder_files(SMALL, weights).items():
        (tmp_path / name).write_bytes(content)
    ids = np.random.default_rng(3).integers(32, size=(5, 4))
    (embeddings,) = ort.InferenceSession(str(tmp_path / "model.onnx")).run(None, {"ids": ids})
    (scores,) = ort.InferenceSession(head_file(SMALL, head)).run(None, {"embedding": embeddings})
    np.testing.assert_allclose(embeddings, embed(SMALL, weights, ids), atol=1e-4)
    np.testing.assert_allclose(scores, score(head, embed(SMALL, weights, ids)), atol=1e-4)


def npy(scores):
    return Reply(200, b"", b"\x93NUMPY" + bytes(122) + np.asarray(scores, "<f4").tobytes())


def test_an_answer_of_another_archive_or_text_is_seen():
    fleet = Fleet(2, 3, seed=5, shape=SMALL)
    plan = Schedule(np.zeros(1), np.array([4]), np.array([7]), 1.0)
    expected, verdicts = fleet.expected(), Verdicts(fleet, plan)

    def problem(reply):
        return verdicts.problem(Answered(0, 0.0, 0.0, 0.0, reply))

    assert problem(npy(expected(4, 7))) == ""
    others = [(member, text) for member in range(6) for text in range(20) if (member, text) != (4, 7)]
    assert all(problem(npy(expected(*other))).startswith("wrong answer") for other in others)
    assert problem(Reply(200, b"", b"{}")).startswith("wrong answer")
    assert problem(Reply(503, b"", b"busy")) == "503: busy"
    assert problem(Reply(0)) == "no answer"


def test_one_seed_makes_one_fleet():
    one, same, other = (Fleet(2, 3, seed=seed, shape=SMALL) for seed in (1, 1, 2))
    assert one.members == same.members
    assert np.array_equal(one.texts, same.texts)
    assert not np.array_equal(one.expected()(3, 0), other.expected()(3, 0))


async def test_the_loop_is_open_and_latency_counts_from_when_a_request_was_due():
    arrived, replies = [], []

    async def answer(reader, writer):
        """Answers nobody before all three are there: a loop that waits for answers would wait for ever."""
        arrived.append(await reader.readuntil(b"\r\n\r\n"))
        replies.append(writer)
        if len(replies) == 3:
            for each in replies:
                each.write(b"HTTP/1.1 200 OK\r\nX-Warm: disk\r\nContent-Length: 2\r\n\r\nok")

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        client = Client("127.0.0.1", listening.sockets[0].getsockname()[1])
        heard = []
        await put(client, [-5.0, -1.0, 0.0], lambda i: b"GET /%d HTTP/1.1\r\n\r\n" % i, heard.append, 30.0)
        client.close()
        for writer in replies:
            writer.close()
            await writer.wait_closed()
    assert sorted(arrived) == [b"GET /%d HTTP/1.1\r\n\r\n" % i for i in range(3)]
    by_index = {each.index: each for each in heard}
    assert by_index[0].latency_s > 5
    assert by_index[1].latency_s > 1
    assert [each.reply.body for each in heard] == [b"ok"] * 3
    assert by_index[2].reply.header(b"x-warm") == b"disk"


async def test_a_broken_connection_is_an_answer_too():
    async def hang_up(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with listening:
        client = Client("127.0.0.1", listening.sockets[0].getsockname()[1])
        assert (await client.get("/x")).status == 0
    assert (await Client("127.0.0.1", 1).get("/x")).status == 0


@pytest.mark.parametrize(("idle_s", "opened"), [(60.0, 1), (0.0, 3)])
async def test_a_connection_that_has_been_idle_for_long_is_not_used_again(idle_s, opened):
    writers = []

    async def answer(reader, writer):
        writers.append(writer)
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        client = Client("127.0.0.1", listening.sockets[0].getsockname()[1], idle_s)
        assert [(await client.get("/x")).status for _ in range(3)] == [200] * 3
        assert client.opened == opened == len(writers)
        client.close()
        for writer in writers:
            writer.close()
            await writer.wait_closed()


def test_a_trace_is_compressed_as_a_whole():
    trace = Trace(np.array([0.0, 43200.0, 86400.0]), np.array([0, 1, 0]), ())
    plan = schedule(trace, 1.0, 60.0, seed=1)
    assert plan.due.tolist() == [0.0, 30.0, 60.0]
    assert plan.members.tolist() == [0, 1, 0]


def test_growth_ignores_outliers_and_levels():
    times = np.linspace(0, 100, 400)
    steady = np.where(np.arange(400) % 7 == 0, 900.0, 100.0)
    assert growth(times, steady) == pytest.approx(0.0, abs=1.0)
    assert growth(times, steady + 0.5 * times) == pytest.approx(50.0, rel=0.05)
    assert slope(np.array([1.0]), np.array([3.0])) == 0.0


def test_pages_are_summed_and_subtracted():
    text = '# HELP x y\nloads_total{backend="a",archive="q \\" q"} 2\nloads_total{backend="b"} 3.5\nup 1e3\n\n'
    page, later = read(text), read(text.replace("3.5", "5").replace("1e3", "1003"))
    assert page.total("loads_total") == 5.5
    assert page.total("loads_total", backend="a") == 2
    assert page.by("loads_total", "backend") == {"a": 2, "b": 3.5}
    assert later.since(page).total("loads_total") == 1.5
    assert later.since(page).total("up") == 3
    assert not page.has("load")


def made_run(plan):
    run = empty(len(plan))
    run.latency_s[:] = [0.01, 0.5, 2.0, 0.02]
    run.done_s[:] = plan.due + run.latency_s
    run.late_s[:] = 0.001
    run.is_right[:] = [True, True, True, False]
    run.warmth[:] = ["resident", "store", "disk", ""]
    run.problems["503"] = 1
    run.baseline_bytes = 100 * MB
    run.counted = read(
        'roundhouse_step_loads_total{backend="onnxruntime"} 3\nroundhouse_step_loads_total{backend="ensemble"} 2\n'
        'roundhouse_step_load_seconds_total{backend="onnxruntime"} 0.5\n'
        'roundhouse_cold_start_seconds_sum{phase="fetch"} 0.25\nroundhouse_cold_start_seconds_sum{phase="total"} 9\n'
        'roundhouse_moved_bytes_total{phase="fetch"} 4e6\nroundhouse_moved_bytes_total{phase="load"} 6e6\n'
    )
    steady = Sample(0.0, 110 * MB, 10 * MB, 10 * MB, 12 * MB, None, None, 2, 0, 1)
    run.samples = [
        steady,
        replace(steady, at_s=1.0, low=0, high=10 * MB),
        replace(steady, at_s=2.0, process=125 * MB),
        replace(steady, at_s=3.0, drift=-20 * MB, held=80 * MB),
    ]
    return run


def made_trace():
    return Trace(np.arange(4.0), np.array([0, 1, 2, 0]), COSTS.archives(FLEET))


FLEET = Fleet(2, 2, seed=1, shape=SMALL)
COSTS = Costs({"encoder": 4 * MB, "head": MB - 1000, "classify": 1000}, base_load_s=0.04, head_load_s=0.01)
PLAN = Schedule(np.arange(4.0), np.array([0, 1, 2, 0]), np.zeros(4, np.int64), 4.0)


def test_the_scorecard_of_a_run():
    card = scorecard(made_run(PLAN), PLAN, COSTS, 9 * MB, 1.0)
    assert (card["requests"], card["failed"], card["problems"]) == (4, 1, {"503": 1})
    assert card["waited_ratio"] == pytest.approx(2 / 3, abs=1e-4)
    assert card["miss_ratio"] == 2 / 4
    assert card["cold_start_ms_by_tier"]["disk"]["p50"] == 2000
    loads = card["loads"]
    assert (loads["bases_loaded"], loads["archives_loaded"], loads["cold_seconds"]) == (1, 2, 0.75)
    assert loads["unhurried_load_seconds_per_100_requests"] == pytest.approx(100 * (0.04 + 2 * 0.01) / 4)
    assert card["moved_mb"] == {"fetch": 4.0, "load": 6.0, "all": 10.0}
    memory = card["memory"]
    assert memory["ledger_off_percent"]["max"] == pytest.approx(100 * (125 - 112) / 125, abs=0.01)
    assert memory["ledger_off_percent"]["median"] == 0
    assert memory["is_over_budget_samples"] == 4
    assert memory["server_says"] == {"off_percent_median": 25.0, "off_percent_max": 25.0, "drift_mb_median": -20.0}
    assert card["goodput"]["within_slo_percent"] == 50.0
    assert card["density"] == {"archives_asked_for": 3, "residents_median": 2, "residents_max": 2}


def test_what_levers_change_is_said_against_the_variant_without_them():
    before = {"loads": {"load_seconds": 10.0, "staging_seconds": 4.0}, "moved_mb": {"fetch": 100.0, "all": 200.0}}
    after = {"loads": {"load_seconds": 4.0, "staging_seconds": 1.0}, "moved_mb": {"fetch": 5.0, "all": 100.0}}
    assert gains({"main": after}) == {}
    assert gains({"main": after, "apart": before})["sharing"] == {
        "load_seconds_percent": -60.0,
        "staging_seconds_percent": -75.0,
        "mb_fetched_percent": -95.0,
        "mb_moved_percent": -50.0,
    }


def test_references_tables_and_charts():
    trace = made_trace()
    against = references(trace, 9 * MB, sharing=True)
    assert against["policies"]["lru"]["miss_ratio"] >= against["policies"]["belady"]["miss_ratio"] > 0
    assert against["floor_miss_ratio"] <= against["policies"]["belady"]["miss_ratio"]
    assert (
        references(trace, 9 * MB, sharing=False)["policies"]["lru"]["megabytes_loaded"]
        > (against["policies"]["lru"]["megabytes_loaded"])
    )
    assert len(miss_curves(trace)["lru"]) == len(miss_curves(trace)["slots"])
    distance = {"misses_to_belady": 1.0, "load_seconds_to_belady_cost": 1.0}
    row = {**scorecard(made_run(PLAN), PLAN, COSTS, 9 * MB, 1.0), "references": against, "distance": distance}
    document = {"variants": {"main": row, "apart": row}, "gains": gains({"main": row, "apart": row})}
    assert [table.row_count for table in tables(document)] == [2, 2, 2, 6, 2, 1]
    for chart in charts(document).values():
        assert ET.fromstring(chart).tag.endswith("svg")


@pytest.mark.parametrize(
    ("looks", "told", "waited_s"),
    [
        ([187, 187, 175, 160], 160, 3 + SETTLED_S),
        ([160], 160, SETTLED_S),
        ([160, 161, 162], 162, SETTLED_S),
        (list(range(500, 100, -2)), 500 - 2 * 60, 60.0),
    ],
)
async def test_the_baseline_is_taken_when_the_process_has_given_back_what_it_will(looks, told, waited_s):
    seen, waited = iter(looks), []

    async def pause(seconds):
        waited.append(seconds)

    assert await settled(lambda: next(seen, looks[-1]) * MB, pause=pause) == told * MB
    assert sum(waited) == waited_s
