"""The table of peers, their environments, and what of a sitting gets into the result."""

import json
import sys

import pytest

from benchmarks.baselines.peers import environments
from benchmarks.baselines.peers.catalogue import PEERS, named, peers_here
from benchmarks.baselines.peers.environments import NotInstallable
from benchmarks.baselines.peers.peer import Peer, as_text, as_texts, vector_in
from benchmarks.scenarios.peers import Sitting, summed_up, why_not
from benchmarks.suite.pace import Pace

OWN = Peer("made-up", "Made up", lambda files: None, packages=("made-up==1.0", "numpy<2"))


def test_peers_are_told_apart_and_their_packages_are_pinned():
    assert len({peer.key for peer in PEERS}) == len({peer.name for peer in PEERS}) == len(PEERS)
    assert all("==" in peer.packages[0] for peer in PEERS if peer.packages)


def test_a_chosen_peer_is_found_and_an_unknown_one_told_with_those_that_there_are():
    assert [peer.key for peer in named(("triton", "fastapi"))] == ["fastapi", "triton"]
    assert named(()) == PEERS
    with pytest.raises(ValueError, match="'flask' is not a peer; there are: fastapi"):
        named(("flask",))


def test_peers_that_need_no_environment_are_here_without_installing():
    assert {peer.key for peer in peers_here()} >= {"fastapi", "fastapi-default"}
    assert all(not peer.packages for peer in peers_here())


def test_an_environment_counts_while_its_pins_are_those_of_the_table(tmp_path):
    assert not environments.is_made(OWN, tmp_path)
    (tmp_path / OWN.key).mkdir()
    (tmp_path / OWN.key / "made.json").write_text(json.dumps(list(OWN.packages)))
    assert environments.is_made(OWN, tmp_path)
    (tmp_path / OWN.key / "made.json").write_text(json.dumps(["made-up==0.9", "numpy<2"]))
    assert not environments.is_made(OWN, tmp_path)


def test_a_peer_without_packages_runs_in_ours():
    peer = named(("fastapi",))[0]
    assert (str(environments.python(peer)), "onnxruntime" in environments.versions(peer)) == (sys.executable, True)


@pytest.mark.parametrize(
    ("peer", "pace", "why"),
    [
        (OWN, Pace(is_quick=True, tell=str), "not in the quick form"),
        (Peer("j", "J", lambda files: None, lambda: "needs Java"), Pace(tell=str), "needs Java"),
        (OWN, Pace(tell=str), "pip cannot install it here: no such version"),
        (OWN, Pace(is_quick=True, peers=("made-up",), tell=str), "pip cannot install it here: no such version"),
    ],
    ids=["quick", "missing", "not-installable", "quick-but-named"],
)
def test_what_is_not_measured_says_why(peer, pace, why):
    def make(peer, tell):
        raise NotInstallable("pip cannot install it here: no such version")

    assert why_not(peer, pace, make) == why


def test_what_can_be_made_is_measured():
    made = []
    assert why_not(OWN, Pace(tell=str), lambda peer, tell: made.append(peer)) == ""
    assert made == [OWN]


def test_ratios_are_taken_within_the_round_and_ours_over_all_sittings():
    def rows(*rates):
        return {64: [{"requests_per_s": rate, "p50_ms": 1000.0 / rate, "p99_ms": 1.0} for rate in rates]}

    sittings = {"slow": Sitting(rows(10.0, 40.0), rows(20.0, 120.0)), "fast": Sitting(rows(50.0), rows(100.0))}
    found = summed_up(sittings, [{"texts_per_s": 200.0}])
    assert found["served"]["64"]["requests_per_s"] == 100.0
    assert found["peers"]["slow"]["64"]["served_throughput_vs_this_min_max"] == [2.0, 3.0]
    assert found["peers"]["slow"]["64"]["served_p50_vs_this"] == pytest.approx((1 / 2 + 1 / 3) / 2, abs=1e-3)
    assert found["peers"]["fast"]["64"]["served_throughput_vs_this"] == 2.0


def test_a_body_is_put_as_each_peer_takes_it():
    body = json.dumps({"inputs": [{"name": "INPUT0", "data": ["a text"]}]})
    assert (json.loads(as_text(body)), json.loads(as_texts(body))) == ({"text": "a text"}, {"text": ["a text"]})


def test_a_vector_is_found_whatever_surrounds_it():
    vector = [0.5] * 384
    for answer in ({"embedding": vector}, [[*vector]], {"outputs": [{"shape": [1, 384], "data": vector}]}):
        assert vector_in(answer) == vector
    with pytest.raises(ValueError, match="no vector"):
        vector_in({"error": ["x"] * 200})
