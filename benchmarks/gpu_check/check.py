"""Asks both servers the same, one server after the other, and puts what they said side by side."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.gpu_check.asking import NoAnswer, Server
from benchmarks.gpu_check.comparing import closeness
from benchmarks.gpu_check.samples import body
from benchmarks.load.closed_loop import Load
from benchmarks.load.processes import put, serving


@dataclass(frozen=True, slots=True)
class Side:
    """One server: its archives, and its flags (`--engine triton`) or its address (`host:port`) if it runs already."""

    store: Path
    flags: tuple[str, ...] = ()
    address: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. `archives` limits the check to those names; empty: all that both stores have."""

    reference: Side
    subject: Side
    archives: tuple[str, ...] = ()
    concurrencies: tuple[int, ...] = (1, 8)
    seconds: float = 5.0
    patience_s: float = 1200.0
    logs: Path | None = None


@dataclass(slots=True)
class Told:
    """What one side said about one archive. `failure` is "" where it answered."""

    failure: str = ""
    request: str = ""
    answer: Any = None
    first_answer_s: float = 0.0
    speed: dict[str, dict[str, float]] = field(default_factory=dict)


def run(plan: Plan) -> dict[str, Any]:
    """Run both servers; returns a JSON-ready result without the environment."""
    common = _names(plan.reference.store) & _names(plan.subject.store)
    names = sorted(common & set(plan.archives) if plan.archives else common)
    if not names:
        raise SystemExit(f"{plan.reference.store} and {plan.subject.store} have no archive name in common")
    reference, reference_server = _hear(plan, plan.reference, names, {}, "reference")
    subject, subject_server = _hear(
        plan, plan.subject, names, {name: told.request for name, told in reference.items()}, "subject"
    )
    archives = {name: _row(reference[name], subject[name]) for name in names}
    return {
        "question": "Do the archives answer on the subject as on the reference, and how much faster?",
        "is_fine": all(row["is_fine"] for row in archives.values()),
        "servers": {"reference": reference_server, "subject": subject_server},
        "archives": archives,
    }


def _names(store: Path) -> set[str]:
    return {path.name for path in store.iterdir() if not path.name.startswith(".")}


def _hear(
    plan: Plan, side: Side, names: Sequence[str], requests: Mapping[str, str], title: str
) -> tuple[dict[str, Told], dict[str, Any]]:
    with _running(side, plan.logs / f"{title}.log" if plan.logs else None) as (host, port):
        server = Server(host, port, plan.patience_s)
        server.await_ready()
        told = {name: _about(plan, server, name, requests.get(name, "")) for name in names}
        engine = server.get("/admin/server").get("engine", {})
    kept = {key: engine[key] for key in ("kind", "version", "installation") if key in engine}
    return told, {"flags": [side.address] if side.address else list(side.flags), **kept}


@contextmanager
def _running(side: Side, log: Path | None) -> Iterator[tuple[str, int]]:
    """Host and port of the side's server, started here unless it runs already."""
    if side.address:
        host, _, port = side.address.rpartition(":")
        yield host or "127.0.0.1", int(port)
        return
    with TemporaryDirectory() as cache, serving(side.store, "--cache-dir", cache, *side.flags, log=log) as started:
        yield "127.0.0.1", started


def _about(plan: Plan, server: Server, name: str, request: str) -> Told:
    told = Told()
    try:
        told.request = request or body(server.config(name))
        told.answer, told.first_answer_s = server.infer(name, told.request)
        headers = {"content-type": "application/json", "x-amzn-sagemaker-target-model": name}
        for concurrency in plan.concurrencies:
            load = Load(server.host, server.port, "/invocations", headers, [told.request], concurrency, plan.seconds)
            outcome = put(load)
            if outcome.failed:
                raise NoAnswer(f"{outcome.failed} of {outcome.requests} requests failed at concurrency {concurrency}")
            told.speed[str(concurrency)] = {"requests_per_s": outcome.requests_per_s, "p50_ms": outcome.p50_ms}
    except NoAnswer as failure:
        told.failure = str(failure)
    return told


def _row(reference: Told, subject: Told) -> dict[str, Any]:
    failure = "; ".join(
        f"{side}: {told.failure}" for side, told in (("reference", reference), ("subject", subject)) if told.failure
    )
    outputs = closeness(reference.answer, subject.answer) if reference.answer and subject.answer else {}
    return {
        "is_fine": not failure and bool(outputs) and not any(output.problem for output in outputs.values()),
        "failure": failure,
        "outputs": {name: asdict(output) for name, output in outputs.items()},
        "first_answer_s": {
            "reference": round(reference.first_answer_s, 2),
            "subject": round(subject.first_answer_s, 2),
        },
        "speed": {
            concurrency: {
                "reference": reference.speed[concurrency],
                "subject": subject.speed[concurrency],
                "speed_up": round(
                    subject.speed[concurrency]["requests_per_s"] / reference.speed[concurrency]["requests_per_s"], 2
                ),
            }
            for concurrency in reference.speed
            if concurrency in subject.speed
        },
    }
