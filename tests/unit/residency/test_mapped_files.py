"""Weight files that several steps map are charged once, as long as one of them is there."""

import pytest

from server.domain.model import CPU, FileSha, Footprint, WeightFile, clipped
from server.residency.memory.footprint import Footprints
from server.residency.options import ResidencyOptions
from server.residency.planning.inventory import Inventory
from server.residency.planning.ledger import Ledger
from server.residency.planning.outlook import Outlook
from server.residency.planning.states import StepMove
from server.residency.planning.victims import choose
from tests.fakes.source import archive, digest_of, step

BASE, MORE = FileSha("base"), FileSha("more")


def mapping(size, **mapped):
    return Footprint({CPU: size}, mapped={FileSha(name): amount for name, amount in mapped.items()})


def charged(ledger):
    return ledger.charged()[CPU]


@pytest.fixture
def inventory():
    """`one` and `two` map the same 80 bytes and have 10 and 20 of their own; `three` maps half of them."""
    predicted = {"one": mapping(90, base=80), "two": mapping(100, base=80), "three": mapping(45, base=40)}
    inventory = Inventory({CPU: 1000}, lambda each: predicted[each.name])
    for name in predicted:
        inventory.admit(archive(name, step(name)), 0.0)
    return inventory


def records(inventory, *names):
    return [inventory.steps[digest_of(name)] for name in names]


def test_the_ledger_charges_the_most_that_any_step_maps(inventory):
    assert charged(inventory.ledger) == 80 + 10 + 20 + 5
    inventory.ledger.release(digest_of("one"))
    assert charged(inventory.ledger) == 80 + 20 + 5
    inventory.ledger.release(digest_of("two"))
    assert charged(inventory.ledger) == 45
    inventory.ledger.release(digest_of("three"))
    assert charged(inventory.ledger) == 0


def test_a_measurement_takes_the_place_of_a_prediction(inventory):
    inventory.ledger.charge(digest_of("two"), mapping(70, base=60, more=5))
    inventory.ledger.charge(digest_of("one"), mapping(90))
    assert charged(inventory.ledger) == 90 + 60 + 5 + 5 + 5


def test_what_goes_frees_only_what_nobody_else_maps(inventory):
    outlook = inventory.outlook()
    assert outlook.go(records(inventory, "two")) == {CPU: 20}
    assert outlook.fork().go(records(inventory, "one")) == {CPU: 10 + 40}
    assert outlook.go(records(inventory, "one", "three")) == {CPU: 10 + 80 + 5}
    assert outlook.stay(records(inventory, "three")) == {CPU: 45}
    assert charged(inventory.ledger) == 115


def test_what_comes_needs_only_what_nobody_maps(inventory):
    newcomer = archive("new", step("new"))
    inventory.sizes.predict = lambda _: mapping(130, base=80, more=30)
    assert inventory.sizes.need(newcomer) == {CPU: 50}
    assert inventory.sizes.total(newcomer) == {CPU: 130}
    outlook = inventory.outlook()
    outlook.go(records(inventory, "one", "two"))
    assert inventory.sizes.need(newcomer, outlook=outlook) == {CPU: 90}
    assert outlook.go(records(inventory, "three")) == {CPU: 5}, "the newcomer maps it by then"
    inventory.sizes.withdraw(newcomer, outlook)
    assert inventory.sizes.need(newcomer, outlook=outlook) == {CPU: 130}


def test_what_is_wholly_mapped_by_others_needs_nothing():
    ledger = Ledger({CPU: 100})
    outlook = Outlook(ledger)
    assert outlook.come({digest_of("a"): mapping(80, base=80)}) == {CPU: 80}
    assert outlook.come({digest_of("b"): mapping(80, base=80)}) == {}


def test_victims_are_chosen_by_what_they_really_free(inventory):
    candidates = inventory.in_state(*{record.state for record in inventory.archives.values()})
    names = [record.archive.name for record in choose(inventory, {CPU: 25}, candidates)]
    assert names == ["one", "two"], "one alone frees 10, and two 20"
    assert choose(inventory, {CPU: 116}, candidates) == ()
    keeper = inventory.outlook()
    keeper.come({digest_of("new"): mapping(80, base=80)})
    assert choose(inventory, {CPU: 36}, candidates, outlook=keeper) == (), "the newcomer keeps the file"
    assert len(choose(inventory, {CPU: 35}, candidates, outlook=keeper)) == 3


def test_policies_are_told_what_would_really_come_back():
    inventory = Inventory({CPU: 1000}, lambda _: mapping(90, base=80))
    one, two = (inventory.admit(archive(name, step(name)), 0.0) for name in ("one", "two"))
    for number, record in enumerate((one, two)):
        inventory.start(record.steps[0], 0.0)
        inventory.measure(record.steps[0], mapping(90 + number, base=80), 1.0)
        inventory.complete(record, 1.0)
    assert (one.freed[1], two.freed[1]) == (10, 11)
    inventory.drop(two)
    inventory.move(two.steps[0], StepMove.UNLOAD)
    inventory.move(two.steps[0], StepMove.FREE)
    assert one.freed[1] == 90


def test_mapped_files_are_never_more_than_the_step():
    assert clipped({BASE: 50, MORE: 30}, 100) == {BASE: 50, MORE: 30}
    assert clipped({BASE: 50, MORE: 30}, 60) == {BASE: 50, MORE: 10}
    assert clipped({BASE: 50, MORE: 30}, 40) == {BASE: 40}


# Predictions


def footprints(**options):
    return Footprints(lambda _: Footprint({}), {CPU: 1000}, ResidencyOptions(**options))


def with_weights(name):
    return step(name, 100, predicted=Footprint({CPU: 100}), weights=(WeightFile("1/weights.bin", BASE, 90),))


def test_a_file_that_was_seen_to_be_mapped_is_expected_to_be():
    known = footprints()
    assert known.predict(with_weights("b")).mapped == {}, "nobody knows how it will be used"
    known.measured(with_weights("a"), mapping(105, base=45), 1.0)
    assert known.predict(with_weights("a")) == mapping(105, base=45)
    assert known.predict(with_weights("b")) == mapping(100, base=45)


def test_noise_in_the_sum_keeps_the_mapped_files():
    known = footprints()
    known.measured(with_weights("a"), mapping(100, base=99), 1.0)
    assert known.measured(with_weights("a"), mapping(102, base=101), 1.0) == mapping(100, base=100)
    assert known.predict(with_weights("a")) == mapping(100, base=100)


def test_mapped_files_survive_a_restart(tmp_path):
    file = tmp_path / "footprints.json"
    before = footprints(footprint_file=file)
    before.measured(with_weights("a"), mapping(105, base=45), 1.0)
    before.measured(step("plain"), Footprint({CPU: 7}), 1.0)
    before.write(before.take_unsaved())
    after = footprints(footprint_file=file)
    assert after.predict(with_weights("a")) == mapping(105, base=45)
    assert after.predict(step("plain")) == Footprint({CPU: 7})


def test_an_out_of_memory_keeps_what_is_mapped():
    known = footprints()
    known.measured(with_weights("a"), mapping(100, base=45), 1.0)
    known.outgrew(with_weights("a"))
    assert known.predict(with_weights("a")) == mapping(200, base=45)
