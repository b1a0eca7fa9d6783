"""What travels between a worker and its home arrives as it was sent."""

import socket
from dataclasses import replace

import pytest

from server.domain.errors import Bug
from server.domain.model import ModelSignature, TensorSpec
from server.workers.channel import Channel
from server.workers.described import archive_of, described
from server.workers.words import (
    Called,
    Denied,
    Granted,
    Leave,
    Place,
    Ready,
    Renewed,
    Report,
    Returned,
    Stopped,
    Uses,
    Wants,
    Welcome,
    read,
    written,
)
from tests.fakes.source import archive, step

ADDRESS = ("/models/a b/invoke", "caf\xe9")
SIGNATURE = ModelSignature(
    "ensemble",
    8,
    (TensorSpec("TEXT", "BYTES", (1,), is_optional=True),),
    (TensorSpec("SCORES", "FP32", (-1, 2), labels=("cat", "dog")),),
)
INNER = step("inner", 7)
ARCHIVE = replace(archive("a", INNER, step("outer", calls=[INNER], signature=SIGNATURE), version="7"), task="some-task")
WORDS = {
    "welcome": Welcome('{"max_body": 5}', "/run/home", notes_arrivals=True),
    "ready": Ready(),
    "wants": Wants([ADDRESS, ("/invocations", "")]),
    "granted": Granted(3, ADDRESS, 12.5, described(ARCHIVE), Place(8001, "rh_1", "gpu:0", {"rh_1": "outer"})),
    "one more address": Granted(3, ADDRESS, 12.5),
    "denied": Denied(ADDRESS, 60.0),
    "renewed": Renewed([1, 2], 13.0),
    "called": Called([1]),
    "stopped": Stopped([1]),
    "returned": Returned([1]),
    "report": Report([Uses(3, 2, 0.25, 0.5, 1, 11.5, [1.0, 2.0])], [3], 4, [(2, [0.0, 0.125])]),
    "leave": Leave(),
}


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_read_as_it_was_written(word):
    assert read(written(WORDS[word])) == WORDS[word]


@pytest.mark.parametrize("text", [b"", b"[]", b'["Nonsense", {}]', b'["Called", {"who": 1}]', b"null"])
def test_what_is_no_word_is_a_bug(text):
    with pytest.raises(Bug, match="do not understand each other"):
        read(text)


def test_an_archive_arrives_with_all_that_a_request_needs():
    arrived = archive_of(read(written(WORDS["granted"])).archive)
    assert (arrived.key, arrived.entry, arrived.task) == (ARCHIVE.key, ARCHIVE.entry, "some-task")
    assert arrived.signature == SIGNATURE
    assert [each.directory for each in arrived.steps] == [each.directory for each in ARCHIVE.steps]
    assert arrived.entry_step.calls == ARCHIVE.entry_step.calls


async def test_a_channel_carries_words_in_order_until_it_is_closed():
    ours, theirs = socket.socketpair()
    one, other = await Channel.over(ours), await Channel.over(theirs)
    said = [Called([number]) for number in range(300)]
    for word in said:
        one.say(word)
    one.close()
    one.say(Leave())  # nobody hears that
    assert [word async for word in other] == said
    other.close()
