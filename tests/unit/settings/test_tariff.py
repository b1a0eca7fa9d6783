"""What is said about groups and about some archives: three ways to write it, one meaning."""

import pytest
from pydantic import ValidationError

from server.residency.planning.terms import ORDINARY, ArchiveEntry, GroupEntry, Tariff, Terms, TermsBook, Wish
from server.settings import Settings
from server.settings.part_options import residency, shortest_ttl

WRITTEN = [
    (
        ["acme:quota=25%,priority=1", "*:quota=1GiB"],
        ["acme/*:ttl_s=60", "acme/chat:pin=true,priority=-2"],
    ),
    (
        "acme:quota=25%,priority=1 *:quota=1GiB",
        "acme/*:ttl_s=60 acme/chat:pin=true,priority=-2",
    ),
    (
        [{"name": "acme", "quota": "25%", "priority": 1}, {"name": "*", "quota": "1GiB"}],
        [{"match": "acme/*", "ttl_s": 60}, {"match": "acme/chat", "pin": True, "priority": -2}],
    ),
]


@pytest.mark.parametrize(("groups", "archives"), WRITTEN, ids=["flags", "variables", "tables"])
def test_tables_and_texts_say_the_same(groups, archives):
    settings = Settings.model_validate({"groups": groups, "archives": archives})
    assert residency(settings).tariff == Tariff(
        (ArchiveEntry("acme/*", Wish(time_to_live_s=60.0)), ArchiveEntry("acme/chat", Wish(-2, is_pinned=True))),
        (GroupEntry("acme", 1, quota_share=0.25), GroupEntry("*", quota_bytes=1 << 30)),
    )
    assert shortest_ttl(settings) == 60.0


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"groups": ["acme:quota=x%"]}, "25%"),
        ({"groups": ["acme:quota=150%"]}, "share"),
        ({"groups": ["acme:quota=0"]}, "greater than 0"),
        ({"groups": ["acme:quoat=1"]}, "quoat"),
        ({"archives": [":pin=true"]}, "match"),
        ({"archives": ["a:ttl_s=-1"]}, "ttl_s"),
        ({"archives": "a"}, "match"),
    ],
)
def test_what_makes_no_sense_is_refused(said, wrong):
    with pytest.raises(ValidationError, match=wrong):
        Settings.model_validate(said)


def test_later_words_count_more():
    tariff = Tariff(
        (ArchiveEntry("acme/*", Wish(priority=2)), ArchiveEntry("acme/chat", Wish(time_to_live_s=9.0))),
        (GroupEntry("acme", 1, quota_share=0.5), GroupEntry("*", -1, quota_bytes=30)),
        time_to_live_s=100.0,
    )
    book = TermsBook(tariff)
    assert book.of("acme/chat") == Terms("acme", 2, 9.0)
    assert book.of("other/chat") == Terms("other", -1, 100.0)
    assert book.of("chat") == Terms("", 0, 100.0)
    book.say("acme/chat", Wish(priority=5))
    book.say("acme/chat", Wish(is_pinned=True))
    assert book.of("acme/chat") == Terms("acme", 5, 9.0, is_pinned=True)
    assert book.limits("acme", {"cpu": 100, "gpu:0": 20}) == {"cpu": 50, "gpu:0": 10}
    assert book.limits("other", {"cpu": 100, "gpu:0": 20}) == {"cpu": 30, "gpu:0": 20}
    assert book.limits("", {"cpu": 100}) is None
    assert TermsBook(Tariff()).of("acme/chat") == Terms("acme") != ORDINARY
