"""What the access log is told about archives: steps by digest, mapped weight files apart, measured where that is known."""

from server.domain.model import CPU, Footprint
from server.domain.part import Part
from server.residency.parts import parts_of
from tests.fakes.source import archive, step

WEIGHTS = "f" * 64


def mapping(name, total, mapped):
    return step(name, total, predicted=Footprint({CPU: total, "gpu:0": 5}, mapped={WEIGHTS: mapped}))


async def test_steps_have_what_was_measured_once_they_were_loaded(yard):
    it = yard(100, archive("a", step("base", 30, predicted=Footprint({CPU: 60})), step("head", 10)))
    assert it.residency.parts("a") == ()
    it.source.verified.add("a")
    assert [part.bytes for part in it.residency.parts("a")] == [60, 10]
    await it.serve("a")
    parts = it.residency.parts("a")
    assert [(part.digest, part.bytes) for part in parts] == [(step("base").digest, 30), (step("head").digest, 10)]
    assert all(part.load_s >= 0 for part in parts)


async def test_what_two_steps_map_is_one_part_with_the_most_that_is_mapped(yard):
    it = yard(100)
    pair = archive("pair", mapping("a", 40, 30), mapping("b", 50, 35))
    first, second, weights = parts_of(pair, it.residency._footprints)
    assert (first.bytes, second.bytes) == (15, 20)
    assert weights == Part(WEIGHTS, 35, 0.0)


async def test_an_archive_that_nobody_knows_has_none(yard):
    it = yard(100)
    assert it.residency.parts("nowhere") == ()
