"""When a worker is overdue. What workers and their home do between them is played in `tests/property`."""

from server.workers.home.lent_out import LentOut, Patience

PATIENCE = Patience(stop_s=5.0, run_s=75.0, silent_s=30.0, start_s=120.0)


def lent_out(*names):
    out = LentOut(PATIENCE, 0.0)
    out.heard(0.0)
    for name in names:
        out.lend(name, name.upper(), 0.0)
    return out


def test_a_worker_that_does_not_stop_using_a_called_lease_is_overdue():
    out = lent_out("a", "b")
    assert out.call(lambda lent: lent.name == "a", 10.0) == [1]
    out.heard(14.0)
    assert out.overdue(15.0) == ""
    assert "stop using 'a'" in out.overdue(15.1)
    out.stopped([1], 15.2)
    assert out.overdue(15.3) == ""


def test_what_runs_may_run_on_but_not_for_ever():
    out = lent_out("a")
    out.call(lambda _: True, 0.0)
    out.stopped([1], 1.0)
    out.heard(76.0)
    assert out.overdue(76.0) == ""
    assert "ran on" in out.overdue(76.1)
    assert out.returned([1]) == ["A"]
    assert out.overdue(76.1) == ""


def test_a_silent_worker_is_overdue_and_one_that_starts_has_longer():
    out = LentOut(PATIENCE, 0.0)
    assert out.overdue(119.0) == ""
    assert out.overdue(121.0) == "it says nothing"
    out.heard(121.0)
    assert out.overdue(151.0) == ""
    assert out.overdue(151.1) == "it says nothing"


def test_nothing_is_called_back_or_given_back_twice():
    out = lent_out("a")
    assert out.call(lambda _: True, 0.0) == [1]
    assert out.call(lambda _: True, 0.0) == []
    assert out.find("a") is None
    assert out.returned([1, 1, 99]) == ["A"]
    assert out.died() == []


def test_a_dead_worker_has_nothing():
    out = lent_out("a", "b")
    out.call(lambda lent: lent.name == "b", 0.0)
    assert sorted(out.died()) == ["A", "B"]
    assert len(out) == 0
