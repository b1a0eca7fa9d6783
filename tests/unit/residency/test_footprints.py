import pytest

from server.domain.model import CPU, NOTHING, Footprint
from server.residency.footprint import Footprints
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


def test_measurements_survive_a_restart(tmp_path):
    file = tmp_path / "deep" / "footprints.json"
    before = footprints(footprint_file=file)
    before.measured(step("a"), Footprint({CPU: 8}), load_s=2.5)
    assert before.needs_saving
    before.save()
    assert not before.needs_saving
    after = footprints(footprint_file=file)
    assert after.predict(step("a")) == Footprint({CPU: 8})
    assert after.predict_load_s(step("a")) == 2.5


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 9, "steps": {}}', '{"format": 1, "steps": {"x": 1}}'])
def test_a_damaged_file_is_ignored(tmp_path, content):
    file = tmp_path / "footprints.json"
    file.write_text(content)
    assert footprints(footprint_file=file, bytes_per_file_byte=1.0).predict(step("a", 10)).on(CPU) == 10
