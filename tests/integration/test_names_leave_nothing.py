"""Whoever asks for ever other names, good ones or bad, does not make the server grow."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from server.domain.errors import ArchiveNotFound, InvalidArchive
from tests.integration.residency.linear_archives import expected, inputs_of, write_packed
from tests.integration.whole_house import WholeHouse
from tests.unit.store.scripted_origin import ScriptedOrigin

MANY = 100


def kept(*roots: object) -> dict[str, int]:
    """How many things each container holds that can be reached from the roots, by the way to it."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    pending = [(type(root).__name__, root) for root in roots]
    while pending:
        where, each = pending.pop()
        if id(each) in seen or isinstance(each, str | bytes | asyncio.AbstractEventLoop):
            continue
        seen.add(id(each))
        if isinstance(each, Collection):
            found[where] = found.get(where, 0) + len(each)
            inner = list(each.values()) if isinstance(each, Mapping) else list(each)
            pending += [(f"{where}[]", one) for one in inner]
        if type(each).__module__.startswith("server."):
            names = [*getattr(each, "__dict__", {}), *(slot for kind in type(each).__mro__ for slot in _slots(kind))]
            pending += [(f"{where}.{name}", getattr(each, name, None)) for name in names]
    return found


def _slots(kind: type) -> Collection[str]:
    return getattr(kind, "__slots__", ())


@pytest.fixture
async def house(tmp_path):
    origin = ScriptedOrigin()
    house = WholeHouse(tmp_path, budget_bytes=100 << 20, origin=origin)
    origin.put("good", write_packed(house.folder / "good.tar.gz", 1, 100_000))
    origin.put("broken", house.folder / "broken.tar.gz", b"no archive")
    await house.start()
    yield house
    await house.stop()


async def ask(house, name):
    with pytest.raises((ArchiveNotFound, InvalidArchive)):
        await house.residency.lease(name, 5.0)


async def test_names_of_nothing_leave_nothing_behind(house):
    inputs = inputs_of(1)
    assert (await house.answer("good", inputs)).shape == expected(inputs, 1).shape
    await ask(house, "broken")
    await ask(house, "first/of/many")
    before = kept(house.store, house.residency)
    for number in range(MANY):
        await ask(house, f"no/such-{number}.tar.gz")
        await ask(house, f"../bad/{number}")
        assert house.residency.try_lease(f"never/asked-{number}") is None
    await asyncio.gather(*(ask(house, f"at/once-{number}") for number in range(MANY)))
    after = kept(house.store, house.residency)
    grown = {where: (before.get(where, 0), count) for where, count in after.items() if count > before.get(where, 0) + 2}
    assert not grown
    for number in range(3):
        house.residency.pin(f"leak-{number}")
    assert kept(house.residency) != {where: after.get(where) for where in kept(house.residency)}, "a leak is seen"
