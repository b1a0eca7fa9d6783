"""Forty archives under a budget that holds ten, asked for by sixteen clients at once, in a real server."""

import shutil
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.integration.live_server import LiveServer, live_server
from tests.integration.residency.asking import Client, charged_bytes
from tests.integration.residency.linear_archives import expected, inputs_of, write_archive
from tests.integration.residency.process_memory import ProcessMemory, memory_of
from tests.integration.residency.storm import Storm, archive_name, storm

pytestmark = pytest.mark.slow

ARCHIVES = 40
WEIGHT_BYTES = 8_000_000
CHARGE_BYTES = 8_300_000
"""What one of them takes; ten fit, and half an archive's room is left, so that one victim always makes room enough."""
BUDGET_BYTES = 10 * CHARGE_BYTES + CHARGE_BYTES // 2
REQUESTS = 2000
ZIPF = 1.5
TOLERANCE = 0.15
QUANTILE = 0.99
"""Of the looks, so many are within the tolerance. Seen: all of them in three storms (1,025), the worst at 1.08."""
MEASURED_TOLERANCE, MEASURED_QUANTILE = 0.1, 0.95
"""Seen: 899 of 900 measurements in five minutes, and no more than 0.092 but for that one."""
RETURNED_BYTES = 8_000_000
"""Sixteen connections, their threads and the holes of the allocator: what stays after a storm, and does not grow."""


@dataclass(frozen=True, slots=True)
class House:
    server: LiveServer
    start: ProcessMemory

    def grown(self) -> int:
        return memory_of(self.server.pid).grown_since(self.start)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("forty")
    for index in range(ARCHIVES):
        write_archive(folder / "store" / archive_name(index), index, WEIGHT_BYTES)
    flags = ("--store", folder / "store", "--memory-budget", BUDGET_BYTES, "--engine", "embedded")
    with live_server(folder / "server", *flags, "--log-level", "warning") as server:
        yield House(server, memory_of(server.pid))
    shutil.rmtree(folder)  # some hundred megabytes


@pytest.fixture(scope="module")
def stormed(house: House) -> Storm:
    shares = 1 / np.arange(1, ARCHIVES + 1) ** ZIPF
    mix = np.random.default_rng(20261122).choice(ARCHIVES, size=REQUESTS, p=shares / shares.sum())
    found = storm(house.server, mix.tolist(), house.start)
    print(f"\n[figures] {found.figures}")
    return found


def test_every_request_is_answered_by_its_own_archive(stormed: Storm) -> None:
    assert stormed.faults == []
    assert len(stormed.warmths) == REQUESTS
    assert {"resident", "disk"} <= set(stormed.warmths), "the mix should both find and miss"


def test_charged_bytes_never_exceed_the_budget(stormed: Storm) -> None:
    assert len(stormed.looks) > 20
    assert max(look.charged for look in stormed.looks) <= BUDGET_BYTES
    assert max(look.charged for look in stormed.looks) > 0.9 * BUDGET_BYTES, "the budget should be put to use"


def test_the_process_holds_what_the_ledger_says_during_the_storm(stormed: Storm) -> None:
    """At every look but one in a hundred, whatever moment it hits.

    The ledger charges from before a load until after an unload, so single moments lie below it by what is on its way
    (`in_transit_bytes`); and the one load under way holds its file, the weights and its own copy at once above it
    (`loading_bytes`). Both are told, so what the process holds is known as a range at each moment.
    """
    astray = [look for look in stormed.settled if abs(look.nearest - 1) > TOLERANCE]

    assert len(astray) <= (1 - QUANTILE) * len(stormed.settled), astray


def test_what_the_server_measures_is_what_it_charged(stormed: Storm) -> None:
    """At its own quiet moments, soon after loads and unloads: exact on both sides, but for requests under way."""
    worst = np.quantile(np.abs(stormed.drifts), MEASURED_QUANTILE)
    print(f"\n[figures] drift at quiet moments: {min(stormed.drifts):+.3f} to {max(stormed.drifts):+.3f}")

    assert len(stormed.drifts) > 10
    assert worst <= MEASURED_TOLERANCE


def test_the_ledger_says_how_much_a_load_holds_in_passing(stormed: Storm) -> None:
    """Not nothing, and not so much that it could excuse anything: these graphs have their weights inside the file."""
    passing = [look.most - look.charged for look in stormed.settled if look.most > look.charged]

    assert len(passing) > 0.5 * len(stormed.settled), "the storm should load most of the time"
    assert 0.5 * CHARGE_BYTES <= np.median(passing) <= 3 * CHARGE_BYTES


def test_victims_of_the_storm_were_the_least_recently_used(stormed: Storm) -> None:
    """By their own explanations. One that was idle for longer stays only if its room was too little, or it just came."""
    chosen = [eviction for eviction in stormed.evictions.values() if eviction["reason"] == "room"]

    assert len(chosen) > 50
    for eviction in chosen:
        missing = eviction["missing_bytes"]["cpu"]
        idle = [each for each in eviction["considered"] if not each["leases"] and not each["is_pinned"]]
        youngest = min((each["idle_s"] for each in idle if each["was_chosen"]), default=0.0)
        guarded = [each for each in idle if each["is_guarded"]]
        spared = [each for each in idle if each not in guarded and not each["was_chosen"] and each["idle_s"] > youngest]
        assert all(each["bytes"] < missing for each in spared), eviction


def test_the_process_holds_what_the_ledger_says_when_it_is_quiet(house: House, stormed: Storm) -> None:
    with Client(house.server) as client:
        charged = charged_bytes(client.residency())
    grown = house.grown()

    print(f"\n[figures] quiet, full: ledger {charged / 1e6:.1f} MB, process {grown / 1e6:.1f} MB")
    assert charged > 0.8 * BUDGET_BYTES
    assert abs(grown / charged - 1) <= TOLERANCE


def test_victims_can_be_predicted(house: House) -> None:
    """One client at a time: the model is an ordered dictionary of ten."""
    order: OrderedDict[str, None] = OrderedDict()
    with Client(house.server) as client:
        unload_everything(client)
        for index in np.random.default_rng(7).integers(0, 14, size=60).tolist():
            inputs = inputs_of(index)
            reply = client.infer(archive_name(index), inputs)
            order[archive_name(index)] = None
            order.move_to_end(archive_name(index))
            while len(order) > 10:
                order.popitem(last=False)
            residency = client.residency()

            np.testing.assert_allclose(reply.output, expected(inputs, index), rtol=1e-4, atol=1e-4)
            assert {each["archive"] for each in residency["residents"]} == set(order)
            assert residency["eviction_order"] == list(order)


def test_memory_returns_to_its_start_after_unloading_everything(house: House, stormed: Storm) -> None:
    with Client(house.server) as client:
        unload_everything(client)
        residency = client.residency()
    grown = house.grown()

    print(f"\n[figures] unloaded: start {house.start}; {grown / 1e6:+.1f} MB since")
    assert charged_bytes(residency) == 0
    assert residency["residents"] == residency["loading"] == residency["leaving"] == residency["steps"] == []
    assert grown <= RETURNED_BYTES


def unload_everything(client: Client) -> None:
    for resident in client.residency()["residents"]:
        assert client.unload(resident["archive"]).status == 200


def test_the_store_is_left_as_it_was(house: House, tmp_path: Path) -> None:
    """The server links the store's files and never writes into them."""
    written = write_archive(tmp_path / archive_name(3), 3, WEIGHT_BYTES)
    served = house.server.log.parent.parent / "store" / archive_name(3)

    for file in sorted(path for path in written.rglob("*") if path.is_file()):
        assert (served / file.relative_to(written)).read_bytes() == file.read_bytes()
