"""What is kept of a signature changes no request's fate."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.codecs.kserve.kserve_expected import Tables, expected
from server.codecs.kserve.kserve_request import _checked_shape, _shape, check_shape
from server.domain.errors import InvalidRequest
from tests.unit.codecs.codec_archives import archive, ask, document

DIMS = st.sampled_from([-1, 0, 1, 2, 3, 5, 2**63 - 1, 2**63, True, 1.0, None, "2"])


def test_tables_are_made_once_for_a_signature_and_anew_for_an_equal_one():
    signature = archive([("X", "FP32", (2,))], [("Y", "FP32", (2,))]).signature
    assert expected(signature) is expected(signature)
    assert expected(replace(signature)) is not expected(signature)


def test_what_is_kept_is_bounded():
    tables = Tables(most_kept=10)
    met = [archive([("X", "FP32", (2,))], []).signature for _ in range(50)]
    for signature in met:
        assert tables.of(signature).signature is signature
        assert len(tables) <= 10


def outcome(call):
    try:
        return call()
    except InvalidRequest as error:
        return str(error)


@example([-1], [], 2)
@given(st.lists(DIMS, max_size=3), st.lists(st.sampled_from([-1, 1, 2, 3]), max_size=3), st.sampled_from([0, 2]))
def test_shapes_are_judged_as_without_tables(dims, declared, batch):
    target = archive([("X", "FP32", tuple(declared))], [], batch)
    spec, known = target.signature.inputs[0], expected(target.signature)

    def plainly():
        shape = _shape(dims, "X")
        check_shape(shape, spec, target.signature, "m")
        return shape

    assert outcome(lambda: _checked_shape(dims, spec, known, "m")) == outcome(plainly)


def test_answers_of_plain_requests_are_planned_once_but_keep_their_ids():
    target = archive([("X", "FP32", (2,))], [("Y", "FP32", (2,))])
    plans = [ask(target, document([1, 2], **more)).encode.__self__ for more in ({}, {"id": "a"}, {"id": "b"}, {})]
    assert [plan.id for plan in plans] == ["", "a", "b", ""]
    assert plans[0] is plans[3]


def test_an_output_that_json_cannot_hold_is_refused_every_time():
    target = archive([("X", "FP32", (2,))], [("Y", "FP16", (2,))])
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="FP16"):
            ask(target, document([1, 2]))
