"""Log lines: one line each, with the request's id, of bounded length."""

import io
import json
import logging

import pytest

from server.telemetry.logging import MAX_CHARS, JsonLines, TextLines, request_id


@pytest.fixture
def line():
    def write(formatter, message, **extra):
        logger = logging.Logger("roundhouse.test")  # noqa: LOG001 - one that no other test shares
        stream = io.StringIO()
        sink = logging.StreamHandler(stream)
        sink.setFormatter(formatter)
        logger.addHandler(sink)
        logger.warning(message, extra=extra)
        return stream.getvalue()

    return write


def test_json_lines_carry_the_extras_and_the_request(line):
    token = request_id.set("r-1")
    document = json.loads(line(JsonLines(), "loaded", archive="a", seconds=1.5))
    request_id.reset(token)
    assert document["message"] == "loaded"
    assert document["request_id"] == "r-1"
    assert (document["archive"], document["seconds"], document["level"]) == ("a", 1.5, "warning")


def test_extras_never_replace_the_line_s_own_fields(line):
    assert json.loads(line(JsonLines(), "said", level="made up"))["level"] == "warning"


def test_what_json_does_not_know_is_written_as_text(line):
    assert json.loads(line(JsonLines(), "x", error=ValueError("v")))["error"] == "v"


def test_a_message_is_one_line_of_text(line):
    assert line(TextLines(), "a\nb", archive="m").count("\n") == 1


@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()])
def test_long_messages_are_cut(line, formatter):
    assert len(line(formatter, "x" * 10 * MAX_CHARS)) < 2 * MAX_CHARS
