"""What `roundhouse tune` turns, sends and shows; its search has a property test."""

import base64
import io
import json
import xml.etree.ElementTree as ET

import pytest
from PIL import Image
from rich.console import Console

from benchmarks.tuning.judging import Goal, Point, Round
from benchmarks.tuning.payload import NoPayloadError, from_files, made_for
from benchmarks.tuning.search import Confirmed, Tried, Verdict
from benchmarks.tuning.space import BASELINE, Choice, Knob, knobs
from benchmarks.tuning.telling import curves_of, curves_table, document, picture, tried_table

TEXT = {"name": "INPUT0", "datatype": "BYTES", "dims": [1], "is_optional": False}


def facts(inputs=(TEXT,), task="", rows=64, **steps):
    return {"task": task, "inputs": list(inputs), "max_batch_size": rows, "is_decoupled": False, "steps": steps}


ONNX = {"backend": "onnxruntime", "settings": {"threads": "", "instances": "1"}}
PYTHON = {"backend": "python", "settings": {"instances": "1"}}


def test_the_knobs_of_an_ensemble_by_weight():
    found = knobs(facts(tokenize=PYTHON, encoder=ONNX), 8, ["int8.tar.gz"])
    assert [(knob.name, knob.now, knob.others) for knob in found] == [
        ("archive", "", ("int8.tar.gz",)),
        ("serve.batching", "auto", ("off",)),
        ("encoder.threads", "", ("1", "2", "4", "8")),
        ("tokenize.instances", "1", ("2", "4")),
    ]


def test_batching_is_turned_where_the_config_says_it():
    each = {"backend": "onnxruntime", "settings": {"threads": "2", "preferred": "8", "delay_us": "1000"}}
    found = {knob.name: knob.others for knob in knobs(facts(model=each, rows=16), 2)}
    assert found == {
        "serve.batching": ("off",),
        "model.threads": ("1",),
        "model.preferred": ("", "16"),
        "model.delay_us": ("0", "5000"),
    }


def test_what_takes_no_batches_has_no_batching_to_turn():
    assert knobs(facts(rows=0, model=PYTHON), 1) == ()


def test_a_choice_knows_what_goes_where_and_forgets_what_is_turned_back():
    threads, batching = Knob("a.b.threads", "", ("1",)), Knob("serve.batching", "auto", ("off",))
    choice = BASELINE.turned(threads, "1").turned(batching, "off")
    assert (choice.of_steps(), choice.of_server(), choice.archive) == ({"a.b.threads": "1"}, {"batching": "off"}, "")
    assert str(choice) == "a.b.threads=1, serve.batching=off"
    assert choice.turned(threads, "").turned(batching, "auto") == BASELINE
    assert str(BASELINE) == "as it is"


def test_texts_are_sent_to_who_takes_texts():
    payload = made_for(facts())
    body = json.loads(payload.bodies[0])
    assert body["inputs"][0] | {"data": 0} == {"name": "INPUT0", "shape": [1, 1], "datatype": "BYTES", "data": 0}
    load = payload.load(1234, "a.tar.gz", 4, 2.0)
    assert load.headers["x-amzn-sagemaker-target-model"] == "a.tar.gz"
    assert base64.b64decode(load.bodies[0]) == payload.bodies[0]
    assert len(set(payload.bodies)) > 100


def test_tensors_have_the_archives_shape():
    each = {"name": "x", "datatype": "INT64", "dims": [-1, 3], "is_optional": False}
    payload = made_for(facts([each]))
    kind = payload.headers["content-type"]
    header = json.loads(payload.bodies[0][: int(kind.rpartition("=")[2])])
    assert header["inputs"][0]["shape"] == [1, 16, 3]
    assert len(payload.bodies[0]) > 16 * 3 * 8
    assert made_for(facts([each])) == payload


def test_pictures_and_labels_are_sent_to_who_asks_for_them():
    photo = made_for(facts(task="image-classification"))
    assert Image.open(io.BytesIO(photo.bodies[0])).size == (640, 480)
    assert photo.headers == {"content-type": "image/jpeg"}
    asked = json.loads(made_for(facts(task="zero-shot-classification")).bodies[0])
    assert len(asked["parameters"]["candidate_labels"]) == 4


def test_what_nothing_can_be_made_up_for_asks_for_a_request():
    two = [TEXT, {"name": "y", "datatype": "FP32", "dims": [1], "is_optional": False}]
    for inputs in (two, []):
        with pytest.raises(NoPayloadError, match="--payload"):
            made_for(facts(inputs))


def test_the_users_own_requests(tmp_path):
    (tmp_path / "a.json").write_bytes(b"{}")
    (tmp_path / "b.strange").write_bytes(b"x")
    assert from_files([tmp_path / "a.json"], None).headers == {"content-type": "application/json"}
    assert from_files([tmp_path / "b.strange"], "text/csv").bodies == (b"x",)
    with pytest.raises(NoPayloadError, match="--content-type"):
        from_files([tmp_path / "b.strange"], None)
    with pytest.raises(NoPayloadError, match="No such file"):
        from_files([tmp_path / "none.json"], None)


def curve(rate, latency):
    return (Point(1, rate / 2, latency, latency * 2), Point(16, rate, latency * 8, latency * 10))


def test_a_goal_counts_the_throughput_that_keeps_it():
    rounds = [Round(curve(200, 4), curve(100, 5))] * 3
    assert Goal().worth(rounds) == pytest.approx(2 * (5 / 4) ** 4)
    assert Goal(50, "p99_ms").worth(rounds) == pytest.approx(2.0)
    assert Goal(10, "p99_ms").worth(rounds) == pytest.approx(1.0)  # one connection's 100/s, over 100/s
    assert Goal(4, "p99_ms").worth(rounds) == pytest.approx(-2.0)
    assert Goal(33, "p50_ms").worth(rounds) == pytest.approx(2.0)


def test_what_came_out_is_shown_drawn_and_kept():
    goal = Goal(100.0)
    better, variant = Choice((("encoder.threads", "1"),)), Choice((("archive", "int8.tar.gz"),))
    confirmed = Confirmed(better, (Round(curve(200, 4), curve(100, 5)),) * 3, 2.0)
    tried = {BASELINE: Tried(1.0, curve(100, 5)), better: Tried(2.1, curve(210, 4)), variant: Tried(1.5, curve(150, 5))}
    verdict = Verdict(confirmed, confirmed, tried, (Choice((("b.instances", "2"),)),))
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(tried_table(verdict), curves_table(confirmed, goal))
    said = console.export_text()
    assert said.index("encoder.threads=1") < said.index("archive=int8.tar.gz") < said.index("│ as it is")
    assert "2.00 x" in said
    drawn = ET.fromstring(picture("minilm <1>", curves_of(verdict), goal))
    assert {"as it is", "tuned", "int8", "goal", "minilm <1>"} <= {each.text for each in drawn.iter() if each.text}
    kept = json.loads(json.dumps(document(verdict, goal, {})))
    assert kept["chosen"]["settings"] == {"encoder.threads": "1"}
    assert kept["chosen"]["throughput_ratios"] == [2.0, 2.0]
    assert [each["archive"] for each in kept["tried"]] == ["", "", "int8.tar.gz"]
