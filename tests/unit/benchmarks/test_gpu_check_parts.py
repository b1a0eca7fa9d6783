"""What the GPU check asks, how it compares, what it reports."""

import json
import subprocess
import sys

import pytest

from benchmarks.gpu_check.asking import NoAnswer, Server
from benchmarks.gpu_check.comparing import closeness
from benchmarks.gpu_check.report import markdown
from benchmarks.gpu_check.samples import body, picture


def field(name, data_type, dims, **more):
    return {"name": name, "data_type": data_type, "dims": [str(size) for size in dims], **more}


def asked(max_batch_size, *fields):
    made = json.loads(body({"max_batch_size": max_batch_size, "input": list(fields)}))["inputs"]
    return {each["name"]: (each["datatype"], each["shape"], each["data"]) for each in made}


def test_inputs_that_families_name_are_meaningful():
    made = asked(
        0,
        field("IMAGE", "TYPE_UINT8", [-1]),
        field("POINTS", "TYPE_FP32", [-1, 2], optional=True),
        field("STEPS", "TYPE_INT32", [1], optional=True),
        field("LABELS", "TYPE_STRING", [-1]),
    )
    image = picture()
    assert made["IMAGE"] == ("UINT8", [len(image)], list(image))
    assert made["STEPS"] == ("INT32", [1], [4])
    assert made["LABELS"] == ("BYTES", [3], ["animals", "breakfast", "politics"])
    assert "POINTS" not in made


def test_other_inputs_get_values_of_their_shape_and_type():
    made = asked(
        8,
        field("INPUT0", "TYPE_FP32", [3, -1]),
        field("flag", "TYPE_BOOL", [1]),
        field("words", "TYPE_STRING", [2]),
        field("ids", "TYPE_INT64", [-1]),
    )
    assert made["INPUT0"][:2] == ("FP32", [1, 3, 4])
    assert len(made["INPUT0"][2]) == 12
    assert [made[name][1] for name in ("flag", "words", "ids")] == [[1, 1], [1, 2], [1, 4]]
    assert body({"input": [field("x", "TYPE_FP32", [2])]}) == body({"input": [field("x", "TYPE_FP32", [2])]})


def answer(data, datatype="FP32", name="y", shape=None):
    return {"outputs": [{"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}]}


@pytest.mark.parametrize(
    ("expected", "found", "problem"),
    [
        (answer([1.0, 2.0]), answer([1.001, 2.001]), ""),
        (answer([1.0, 2.0]), answer([2.0, 1.0]), "cosine 0.8"),
        (answer([1.0, 2.0]), answer([1.2, 2.4]), "relative error 2.00e-01"),
        (answer([1.0, 2.0]), answer([1.0, float("nan")]), "NaN"),
        (answer([1.0, 2.0]), answer([1.0, None]), "NaN"),
        (answer([0.0]), answer([0.0]), ""),
        (answer([], shape=[0]), answer([], shape=[0]), ""),
        (answer([0, 255, 7], "UINT8"), answer([1, 254, 7], "UINT8"), ""),
        (answer([0, 1, 1, 0], "UINT8"), answer([1, 0, 1, 0], "UINT8"), "50.0% of the range"),
        (answer(["a"], "BYTES"), answer(["a"], "BYTES"), ""),
        (answer(["a"], "BYTES"), answer(["b"], "BYTES"), "the values differ"),
        (answer([1.0, 2.0]), answer([1.0, 2.0], "FP16"), "datatype is FP16 instead of FP32"),
        (answer([1.0, 2.0]), answer([1.0, 2.0], shape=[1, 2]), "shape is"),
        (answer([1.0]), answer(["x"]), "no number"),
    ],
    ids=str,
)
def test_closeness(expected, found, problem):
    (judged,) = closeness(expected, found).values()
    assert problem in judged.problem
    assert bool(problem) == bool(judged.problem)


def test_an_output_that_one_side_lacks_is_a_problem():
    judged = closeness(answer([1.0]), answer([1.0], name="z"))
    assert {name: each.problem for name, each in judged.items()} == {
        "y": "only the reference has it",
        "z": "only the subject has it",
    }


def test_the_report_says_what_is_wrong_first():
    fine = {"problem": "", "max_abs": 0.001, "relative": 0.0005, "cosine": 0.99999}
    speed = {"requests_per_s": 10.0, "p50_ms": 5.0}
    row = {"failure": "", "outputs": {"y": fine}, "first_answer_s": {"reference": 1, "subject": 2}}
    row["speed"] = {"1": {"reference": speed, "subject": speed, "speed_up": 1.0}}
    broken = {"failure": "subject: 500 a | b\nc", "outputs": {}, "first_answer_s": {"subject": 0}, "speed": {}}
    result = {
        "is_fine": False,
        "servers": {"reference": {"kind": "embedded", "flags": ["--engine", "embedded"]}, "subject": {"flags": []}},
        "archives": {"good.tar.gz": row, "bad.tar.gz": broken},
        "environment": {"gpus": ["NVIDIA L4, 23034 MiB"], "cores": 2},
    }
    text = markdown(result)
    assert "**NOT FINE: see below.**" in text
    assert "GPU: NVIDIA L4, 23034 MiB." in text
    assert "| good.tar.gz | y | 0.001 | 5.00e-04 | 0.999990 | fine |" in text
    assert "| bad.tar.gz | | | | | subject: 500 a / b c |" in text
    assert "| good.tar.gz | 1 | 10.0 | 10.0 | 1.0 | 5.0 | 2 |" in text
    assert "Every archive answers" in markdown({**result, "is_fine": True})


def test_the_check_runs_where_builders_libraries_are_missing():
    code = (
        "import sys\n"
        "for name in ('onnx', 'torch', 'builders', 'server'): sys.modules[name] = None\n"
        "import benchmarks.gpu_check.__main__\n"
        "print('ok')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "ok", done.stderr


class Scripted(Server):
    """Answers as scripted: (status, body) or NoAnswer."""

    def _once(self, method, path, body):
        step = self.script.pop(0)
        if isinstance(step, NoAnswer):
            raise step
        return *step, 1.0


def scripted(*steps, patience_s=60.0):
    waits = []
    server = Scripted("host", 1, patience_s, waits.append)
    object.__setattr__(server, "script", list(steps))
    return server, waits


def test_a_loading_server_is_waited_for_and_a_failing_one_is_not():
    server, waits = scripted((503, b"loading"), (429, b""), (200, b'{"outputs": []}'))
    assert server.infer("a b", "{}")[0] == {"outputs": []}
    assert waits == [1.0, 1.0]
    server, waits = scripted((500, b"broken"))
    with pytest.raises(NoAnswer, match="GET /v2/models/a%20b/config: 500 broken"):
        server.config("a b")
    server, _ = scripted((503, b"still loading"), patience_s=-1.0)
    with pytest.raises(NoAnswer, match="503 still loading"):
        server.get("/ping")


def test_a_server_that_starts_is_waited_for():
    server, waits = scripted(NoAnswer("refused"), (503, b""), (200, b""))
    server.await_ready()
    assert len(waits) == 2
    server, _ = scripted(NoAnswer("refused"), patience_s=-1.0)
    with pytest.raises(NoAnswer, match="refused"):
        server.await_ready()
