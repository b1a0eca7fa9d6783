import json

import pytest

from server.domain.model import CPU, NOTHING, Footprint
from server.residency.memory.footprint import Footprints
from server.residency.options import ResidencyOptions
from tests.fakes.source import step


def footprints(asked=NOTHING, **options):
    return Footprints(lambda _: asked, {CPU: 1000}, ResidencyOptions(**options))


def test_a_prediction_comes_from_the_best_source_there_is():
    unknown, declared = step("a", 100), step("b", 100, predicted=Footprint({CPU: 7}))
    assert footprints(bytes_per_file_byte=1.5).predict(unknown).on(CPU) == 150
    assert footprints(asked=Footprint({CPU: 9})).predict(unknown).on(CPU) == 9
    assert footprints(asked=Footprint({CPU: 9})).predict(declared).on(CPU) == 7
    measured = footprints(asked=Footprint({CPU: 9}))
    measured.measured(declared, Footprint({CPU: 8}), load_s=2.0)
    assert measured.predict(declared).on(CPU) == 8
    assert measured.predict_load_s(declared) == 2.0


def test_an_out_of_memory_doubles_the_expectation_up_to_the_budget():
    known = footprints(asked=Footprint({CPU: 400}))
    known.outgrew(step("a"))
    assert known.predict(step("a")).on(CPU) == 800
    known.outgrew(step("a"))
    assert known.predict(step("a")).on(CPU) == 1000


def test_only_what_a_load_showed_is_called_measured_also_after_a_restart(tmp_path):
    file = tmp_path / "footprints.json"
    known = footprints(footprint_file=file)
    assert not known.predict(step("a", 10)).is_measured
    known.measured(step("a"), Footprint({CPU: 8}), load_s=1.0)
    known.measured(step("b"), Footprint({CPU: 8}), load_s=1.0)
    known.outgrew(step("b"))
    known.write(known.take_unsaved())
    for each in (known, footprints(footprint_file=file)):
        assert each.predict(step("a")).is_measured
        assert (each.predict(step("b")).on(CPU), each.predict(step("b")).is_measured) == (16, False)
    known.measured(step("b"), Footprint({CPU: 9}), load_s=1.0)
    assert known.predict(step("b")).is_measured


def test_measurements_survive_a_restart(tmp_path):
    file = tmp_path / "deep" / "footprints.json"
    before = footprints(footprint_file=file)
    before.measured(step("a"), Footprint({CPU: 8}), load_s=2.5)
    assert before.needs_saving
    before.write(before.take_unsaved())
    assert not before.needs_saving
    after = footprints(footprint_file=file)
    assert after.predict(step("a")) == Footprint({CPU: 8})
    assert after.predict_load_s(step("a")) == 2.5


def test_what_another_version_of_the_engine_took_is_forgotten(tmp_path):
    file = tmp_path / "footprints.json"
    old = footprints(footprint_file=file, footprints_of="embedded onnxruntime 1.22.0")
    measure(old, "a", 8)
    old.write(old.take_unsaved())
    new = footprints(footprint_file=file, footprints_of="embedded onnxruntime 1.23.0", bytes_per_file_byte=1.0)
    assert new.predict(step("a", 10)).on(CPU) == 10
    measure(new, "b", 7)
    new.write(new.take_unsaved())
    again = footprints(footprint_file=file, footprints_of="embedded onnxruntime 1.23.0", bytes_per_file_byte=1.0)
    assert (again.predict(step("a", 10)).on(CPU), again.predict(step("b", 10)).on(CPU)) == (10, 7)
    assert footprints(footprint_file=file, bytes_per_file_byte=1.0).predict(step("b", 10)).on(CPU) == 10


GARBAGE = ["", "{", "[]", '{"format": 9}\n{"step": "x"}\n', '{"format": 2}\n{"step": 1, "bytes": 3}\n7\nx', "\x00\xff"]


@pytest.mark.parametrize("content", GARBAGE)
def test_a_damaged_file_is_ignored_and_made_good(tmp_path, content):
    file = tmp_path / "footprints.json"
    file.write_text(content, encoding="latin-1")
    damaged = footprints(footprint_file=file, bytes_per_file_byte=1.0)
    assert damaged.predict(step("a", 10)).on(CPU) == 10
    measure(damaged, "a", 8)
    assert footprints(footprint_file=file).predict(step("a", 10)).on(CPU) == 8


def measure(known, name, size):
    known.measured(step(name), Footprint({CPU: size}), load_s=1.0)
    known.write(known.take_unsaved())


def test_a_measurement_adds_one_line_and_the_last_one_counts(tmp_path):
    file = tmp_path / "footprints.json"
    known = footprints(footprint_file=file)
    for size in (8, 80, 800):
        measure(known, "a", size)
        measure(known, "b", size + 1)
    lines = file.read_text().splitlines()
    assert len(lines) == 1 + 6
    again = footprints(footprint_file=file)
    assert (again.predict(step("a")).on(CPU), again.predict(step("b")).on(CPU)) == (800, 801)


def test_a_line_that_was_cut_off_costs_only_itself(tmp_path):
    file = tmp_path / "footprints.json"
    known = footprints(footprint_file=file)
    measure(known, "a", 8)
    measure(known, "b", 9)
    file.write_text(file.read_text()[:-5])
    again = footprints(footprint_file=file, bytes_per_file_byte=1.0)
    assert again.predict(step("a", 10)).on(CPU) == 8
    assert again.predict(step("b", 10)).on(CPU) == 10
    measure(again, "c", 7)
    assert {json.loads(line).get("step") for line in file.read_text().splitlines()[1:]} == {
        step("a").digest,
        step("c").digest,
    }


def test_history_does_not_grow_for_ever(tmp_path):
    file = tmp_path / "footprints.json"
    known = footprints(footprint_file=file)
    for round_ in range(1100):
        measure(known, "a", 10 ** (round_ % 2 + 1))
    assert len(file.read_text().splitlines()) < 1010
    assert footprints(footprint_file=file).predict(step("a")).on(CPU) == 100


def test_a_file_that_cannot_be_written_is_made_good_later(tmp_path):
    file = tmp_path / "deep" / "footprints.json"
    (tmp_path / "deep").write_text("in the way")
    known = footprints(footprint_file=file)
    measure(known, "a", 8)
    (tmp_path / "deep").unlink()
    measure(known, "b", 9)
    again = footprints(footprint_file=file)
    assert (again.predict(step("a")).on(CPU), again.predict(step("b")).on(CPU)) == (8, 9)


def test_equal_amounts_are_written_down_once_and_others_apart():
    known = footprints()
    for name, size in (("a", 8), ("b", 8), ("c", 9)):
        known.measured(step(name), Footprint({CPU: size}), load_s=1.0)
    told = {name: known.predict(step(name)).bytes_by_device for name in "abc"}
    assert told == {"a": {CPU: 8}, "b": {CPU: 8}, "c": {CPU: 9}}
    assert told["a"] is told["b"]


def test_where_no_file_keeps_measurements_none_wait_for_it(tmp_path):
    for file, waiting in ((None, 0), (tmp_path / "footprints.json", 2)):
        known = footprints(footprint_file=file)
        for name in ("a", "b"):
            known.measured(step(name), Footprint({CPU: 8}), load_s=1.0)
        assert len(known.take_unsaved().measurements) == waiting
