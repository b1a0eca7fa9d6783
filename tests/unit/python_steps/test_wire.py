"""Frames over a socket pair."""

import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from server.domain.inference import NUMPY_BY_DATATYPE, Tensor
from server.engines.embedded.python_steps.wire import Connection, ConnectionLost

NUMERIC = {name: dtype for name, dtype in NUMPY_BY_DATATYPE.items() if name != "BYTES"}


@pytest.fixture
def pair() -> Iterator[tuple[Connection, Connection]]:
    one, other = map(Connection, socket.socketpair())
    yield one, other
    one.close()
    other.close()


def transfer(pair, *tensors: Tensor, **head):
    """Send from a thread, since a large frame waits for its reader."""
    one, other = pair
    thread = threading.Thread(target=one.send, args=("test", head, tensors))
    thread.start()
    frame = other.receive()
    thread.join()
    return frame


@st.composite
def any_tensor(draw) -> Tensor:
    datatype = draw(st.sampled_from([*NUMERIC, "BYTES"]))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    if datatype == "BYTES":
        data = np.empty(shape, np.object_)
        data.ravel()[:] = draw(st.lists(st.binary(max_size=9), min_size=data.size, max_size=data.size))
    else:
        data = draw(hnp.arrays(NUMERIC[datatype], shape))
    return Tensor(draw(st.text(max_size=5)), datatype, data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tensors=st.lists(any_tensor(), max_size=5), head=st.dictionaries(st.text(max_size=5), st.integers(), max_size=3))
def test_every_frame_arrives_as_it_was_sent(pair, tensors, head):
    frame = transfer(pair, *tensors, values=head)

    assert (frame.kind, frame.head["values"]) == ("test", head)
    assert [(t.name, t.datatype, t.shape) for t in frame.tensors] == [(t.name, t.datatype, t.shape) for t in tensors]
    for received, sent in zip(frame.tensors, tensors, strict=True):
        assert received.data.dtype == sent.data.dtype
        np.testing.assert_array_equal(received.data, sent.data)


@pytest.mark.parametrize("size", [1, 5_000_000])
def test_tensors_arrive_writable_and_as_the_receivers_own(pair, size):
    sent = Tensor("T", "UINT8", np.arange(size, dtype=np.uint8))
    frame = transfer(pair, sent, Tensor("U", "UINT8", sent.data[::2]))

    np.testing.assert_array_equal(frame.tensors[0].data, sent.data)
    np.testing.assert_array_equal(frame.tensors[1].data, sent.data[::2])
    frame.tensors[0].data[0] = 9
    assert sent.data[0] == 0


def test_more_tensors_than_one_system_call_takes(pair):
    sent = [Tensor(str(n), "UINT16", np.full(3, n, np.uint16)) for n in range(1500)]

    assert [int(tensor.data[-1]) for tensor in transfer(pair, *sent).tensors] == list(range(1500))


def test_the_end_of_the_other_side_is_told(pair):
    one, other = pair
    assert not other.has_frame()
    one.close()

    assert other.has_frame()
    with pytest.raises(ConnectionLost):
        other.receive()
    with pytest.raises(ConnectionLost):
        other.send("test")


def test_waiting_can_have_a_limit(pair):
    pair[1].limit(0.01)

    with pytest.raises(TimeoutError):
        pair[1].receive()
