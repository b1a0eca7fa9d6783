"""The planner's property test is itself tested: each of these bugs, planted alone, makes it fail.

- a leased archive is evicted
- a pinned archive is evicted
- an archive that was just loaded is evicted before others
- an archive that was never used counts as used
- the most recently used leaves first
- a policy offers one victim only
- a policy loses archives on the way
- more is evicted than is needed: superfluous victims are not spared
- more is evicted than is needed: what is on its way back is not counted
- too little is evicted
- memory counts as free while its unload is under way
- the measurement is added to the prediction
- the measurement is ignored
- a shared step is loaded for each archive
- a shared step goes with the first archive that leaves
- a shared step is never unloaded
- room is admitted twice
- a waiter waits beside free room
- a waiter is forgotten
- a waiter who gave up is served
- hot archives starve a waiter
- a draining archive gives leases
- an archive drains on after its waiter has gone
- a step is loaded before what it calls
- a step is unloaded before what calls it
- one load too many side by side
- a failure is forgotten at once
- out of memory is tried for ever
- what was lost with the engine stays charged
- old content goes on giving leases
- an unload never answers
- a giant has others evicted
- a mapped file is charged for each step that maps it
- a mapped file is released with the first step that lets it go
- a mapped file counts as freed while another step maps it
- room is made for a file that is mapped already
- a file that the newcomer maps counts as freed
- a file that an earlier claim will map is asked for again
"""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from server.residency.planning import planner
from tests.property import hunting
from tests.property.planner_machine import POLICIES, machine_for
from tests.property.planted_planner import plant

HUNT = settings(hunting.HUNT, max_examples=140, stateful_step_count=50)

BUGS = {
    "a leased archive is evicted": ("pool", "if victim.leases:", "if not victim:"),
    "a pinned archive is evicted": ("candidates", "elif held in pins or terms.is_pinned:", "elif held == '':"),
    "an archive that was just loaded is evicted before others": (
        "candidates",
        "rank = GUARDED if record.resident_since > guarded_from else IDLE",
        "rank = IDLE",
    ),
    "an archive that was never used counts as used": (
        "records",
        "return self.last_used if self.uses",
        "return self.last_used if self",
    ),
    "the most recently used leaves first": (
        "policies.lru",
        'attrgetter("recency")',
        "lambda record: -record.recency",
    ),
    "a policy offers one victim only": ("policies.policy", "while heap:", "if heap:"),
    "a policy loses archives on the way": ("policies.s3_fifo", "main.append((record, record.uses - left))", "pass"),
    "more is evicted than is needed: superfluous victims are not spared": (
        "victims",
        "if choice.covered == covered:",
        "if choice is None:",
    ),
    "more is evicted than is needed: what is on its way back is not counted": (
        "pool",
        "add(self.room, self.outlook.go(self._inventory.loose.values()))",
        "",
    ),
    "too little is evicted": ("victims", "min(before, before + by) == 0", "before >= 0"),
    "memory counts as free while its unload is under way": (
        "inventory",
        "elif record.state is StepState.LOADING:",
        (
            "elif record.state is StepState.UNLOADING:\n            self.ledger.charge(digest, Footprint({}))\n"
            "        elif record.state is StepState.LOADING:"
        ),
    ),
    "the measurement is added to the prediction": ("ledger", "if digest in self._charges:", "if not digest:"),
    "the measurement is ignored": ("inventory", "self.ledger.charge(record.step.digest, measured)", "pass"),
    "a shared step is loaded for each archive": (
        "inventory",
        "self.steps.get(step.digest) or self._reserve(step)",
        "self._reserve(step)",
    ),
    "a shared step goes with the first archive that leaves": (
        "inventory",
        "if step.holders == 0:",
        "if step.holders <= 1:",
    ),
    "a shared step is never unloaded": ("inventory", "step.holders -= 1", "step.holders -= step.holders == 1"),
    "room is admitted twice": ("claims", "        add(self._free, self._inventory.sizes.need(archive), sign=-1)\n", ""),
    "a waiter waits beside free room": (
        "claims",
        "if is_covered and can_begin:",
        "if is_first and short and can_begin:",
    ),
    "a waiter is forgotten": (
        "waiting",
        "waiters = self._waiters.pop(key, [])",
        "waiters = self._waiters.pop(key, [])[:1]",
    ),
    "a waiter who gave up is served": ("waiting", "self.dismiss(key)\n        return key", "return key"),
    "hot archives starve a waiter": (
        "claims",
        "is_first = is_urgent and not self._blocked\n        own =",
        "is_first = False\n        own =",
    ),
    "a draining archive gives leases": (
        "inventory",
        "            del self.leasable[record.archive.name]\n",
        "            pass\n",
    ),
    "an archive drains on after its waiter has gone": ("pool", "self._inventory.reprieve(record)", "pass"),
    "a step is loaded before what it calls": (
        "inventory",
        "callee is None or callee.state is StepState.RESIDENT",
        "callee is None or callee",
    ),
    "a step is unloaded before what calls it": ("planner", "or self._inventory.is_called(digest)", ""),
    "one load too many side by side": (
        "planner",
        "self._inventory.loading >= self.house",
        "self._inventory.loading > self.house",
    ),
    "a failure is forgotten at once": ("failures", "if isinstance(error, LASTING):", "if error is None:"),
    "out of memory is tried for ever": ("outcomes", "step.out_of_memory > 1", "step.out_of_memory > 9"),
    "what was lost with the engine stays charged": ("outcomes", "for step in lost:\n", "for step in lost[1:]:\n"),
    "old content goes on giving leases": (
        "house",
        'self.inventory.retire(other, "replaced by new content")',
        "pass",
    ),
    "an unload never answers": ("house", "del self.tickets[ticket]\n", "continue\n"),
    "a giant has others evicted": ("quotas", "if amount > limits[device]), None)", "if amount < 0), None)"),
    "a mapped file is charged for each step that maps it": ("ledger", "self._charged[CPU] -= self", "self"),
    "a mapped file is released with the first step that lets it go": ("ledger", "self._charged[CPU] += self", "self"),
    "a mapped file counts as freed while another step maps it": ("outlook", "besides=kept", "besides=0"),
    "room is made for a file that is mapped already": ("outlook", "besides=shared", "besides=0"),
    "a file that the newcomer maps counts as freed": ("pool", "kept, self.outlook, is_partial", "kept, is_partial"),
    "a file that an earlier claim will map is asked for again": (
        "claims",
        "self._inventory.sizes.need(archive, pool.coming, self._claimed, pool.outlook)",
        "self._inventory.sizes.need(archive, pool.coming, self._claimed, pool.outlook.fork())",
    ),
}


POLICY_OF = {
    "an archive that was just loaded is evicted before others": "lru",
    "the most recently used leaves first": "lru",
    "an archive that was never used counts as used": "lru",
    "a policy loses archives on the way": "s3-fifo",
}
"""Where a bug shows best, or only, with one policy. The others are hunted with all three."""


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug):
    planted = plant(*BUGS[bug])
    policies = [POLICY_OF[bug]] if bug in POLICY_OF else POLICIES
    with pytest.raises(Exception):  # noqa: B017 an assertion, a Bug, or whatever the bug leads to
        run_state_machine_as_test(machine_for(planted, policies), settings=HUNT)


def test_the_list_of_bugs_above_is_true():
    assert [line.removeprefix("- ") for line in __doc__.splitlines() if line.startswith("- ")] == list(BUGS)


def test_the_same_hunt_finds_nothing_in_the_real_planner():
    run_state_machine_as_test(machine_for(planner), settings=HUNT)
    copy = plant("planner", '"""What should be in memory', '"""What should be in  memory')
    assert copy is not planner
