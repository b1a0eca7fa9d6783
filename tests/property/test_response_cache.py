"""The response cache against a plain model of it, and the digest that its keys are."""

from collections import OrderedDict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from server.domain.inference import InferenceRequest, Tensor
from server.engines.embedded.answers.request_digest import owned, request_digest, size_bytes
from server.engines.embedded.answers.response_cache import ResponseCache

STEPS, KEYS = st.sampled_from("ab"), st.sampled_from([b"1", b"2", b"3"])
ACTIONS = st.one_of(
    st.tuples(st.just("put"), STEPS, KEYS, st.integers(0, 12)),
    st.tuples(st.just("get"), STEPS, KEYS, st.just(0)),
    st.tuples(st.just("forget"), STEPS, st.just(b""), st.just(0)),
)


@given(st.integers(0, 20), st.lists(ACTIONS, max_size=60))
def test_it_keeps_what_was_used_last_and_never_more_than_its_budget(budget, actions):
    cache = ResponseCache(budget)
    model = OrderedDict()
    for number, (action, step, key, size) in enumerate(actions):
        if action == "put":
            model.pop((step, key), None)
            evicted = 0
            if size <= budget:
                while sum(each[1] for each in model.values()) + size > budget:
                    model.popitem(last=False)
                    evicted += 1
                model[step, key] = (number, size)
            assert cache.put(step, key, number, size) == evicted
        elif action == "get":
            expected = model.get((step, key))
            if expected is not None:
                model.move_to_end((step, key))
            assert cache.get(step, key) == (expected[0] if expected else None)
        else:
            for each in [each for each in model if each[0] == step]:
                del model[each]
            cache.forget(step)
        assert len(cache) == len(model)
        assert cache.total_bytes == sum(size for _, size in model.values()) <= budget


NUMBERS = st.one_of(
    arrays.arrays(np.float32, arrays.array_shapes(max_dims=3, max_side=3, min_side=0)),
    arrays.arrays(np.uint8, arrays.array_shapes(max_dims=3, max_side=3)),
)
TEXTS = st.lists(st.binary(max_size=3), max_size=4).map(
    lambda elements: np.array([*elements, None], dtype=np.object_)[:-1]
)
KIND = {"f": "FP32", "u": "UINT8", "O": "BYTES"}


def tensors(name):
    return st.one_of(NUMBERS, TEXTS).map(lambda data: Tensor(name, KIND[data.dtype.kind], data))


REQUESTS = st.builds(
    lambda first, second, outputs, parameters: InferenceRequest(
        {tensor.name: tensor for tensor in (first, second) if tensor is not None}, tuple(outputs), "id", parameters
    ),
    tensors("a"),
    st.none() | tensors("b"),
    st.lists(st.sampled_from(["x", "y"]), unique=True),
    st.dictionaries(st.sampled_from("pq"), st.one_of(st.booleans(), st.integers(0, 1), st.sampled_from(["1", "0.0"]))),
)


def meaning(request):
    """All that may change an answer, as something that can be compared."""
    return (
        {
            name: (
                tensor.datatype,
                tensor.shape,
                tensor.data.tolist() if tensor.datatype == "BYTES" else tensor.data.tobytes(),
            )
            for name, tensor in request.inputs.items()
        },
        request.outputs,
        {key: repr(value) for key, value in request.parameters.items()},
    )


@given(REQUESTS, REQUESTS)
def test_equal_digests_mean_equal_requests(one, other):
    assert (request_digest(one) == request_digest(other)) == (meaning(one) == meaning(other))


@given(REQUESTS)
def test_the_id_the_layout_and_the_order_of_inputs_do_not_count(request):
    shuffled = {
        name: Tensor(name, tensor.datatype, np.asfortranarray(tensor.data))
        for name, tensor in reversed(request.inputs.items())
    }
    assert request_digest(InferenceRequest(shuffled, request.outputs, "other", request.parameters)) == request_digest(
        request
    )


def test_where_one_text_ends_and_the_next_begins_counts():
    def texts(*elements):
        return InferenceRequest({"a": Tensor("a", "BYTES", np.array(elements, dtype=np.object_))})

    assert request_digest(texts(b"ab", b"c")) != request_digest(texts(b"a", b"bc"))


@given(tensors("a"))
def test_what_is_kept_owns_its_memory(tensor):
    from server.domain.inference import InferenceResponse

    (kept,) = owned(InferenceResponse((tensor,))).outputs
    assert kept.data.base is None
    assert not kept.data.flags.writeable
    assert kept.data.tolist() == tensor.data.tolist() or np.isnan(tensor.data.astype(float)).any()
    assert size_bytes([kept]) >= kept.data.nbytes
