"""Zero-shot and text classification through the real Triton and through the embedded engine: equal answers."""

import asyncio

import numpy as np
import pytest

from server.domain.errors import InvalidRequest
from tests.differential.comparing import assert_agree, assert_same, request, tensor
from tests.differential.engines import resident, staged
from tests.fakes import classifier_archives as archives
from tests.fakes import repositories

pytestmark = [
    pytest.mark.triton,
    pytest.mark.builders,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("classifiers"),
]

TEXTS = ["The match was lost in the last minute.", "Prices of oil rose again.", "", "word " * 400]


def cells(rows, name="TEXT"):
    return tensor(np.array([[cell.encode() for cell in row] for row in rows], dtype=np.object_), "BYTES", name)


def question(texts, labels, template=None, multi=None):
    tensors = [cells([[text] for text in texts]), cells([labels] * len(texts), "LABELS")]
    if template is not None:
        tensors.append(cells([[template]] * len(texts), "HYPOTHESIS_TEMPLATE"))
    if multi is not None:
        tensors.append(tensor(np.full((len(texts), 1), multi), "BOOL", "MULTI_LABEL"))
    return request(*tensors)


WRONG = [
    question(TEXTS[:1], []),
    question(TEXTS[:1], ["a"], "no place for it"),
    question(TEXTS[:1], ["a"], "{0.__class__}"),
    question(TEXTS[:1], ["word " * 400]),
]
AT_ONCE = [
    question(TEXTS, ["sports", "economy"], "It is {}.", multi=False),
    question(TEXTS[:1], ["music", "sports", "travel"], "It is {}.", multi=True),
    question(TEXTS[:1], ["a"], "nothing", multi=True),
    *(question([text], ["one", "two", "three"][: 1 + index], "{}", multi=False) for index, text in enumerate(TEXTS)),
]


async def test_zero_shot_in_every_way(engines):
    """One after another, wrong ones, and many with different numbers of labels at the same time."""
    right = [
        question(TEXTS, ["sports", "economy", "sports"]),
        question(TEXTS[:1], ["sports"]),
        question(TEXTS, ["sports", "economy"], "It is {0}, really {0}.", multi=True),
    ]
    archive = staged(archives.zero_shot())
    told = []
    for engine in engines:
        async with resident(engine, archive) as entry:
            answers = [await engine.infer(entry, each) for each in right]
            refusals = [await asyncio.gather(engine.infer(entry, each), return_exceptions=True) for each in WRONG]
            together = await asyncio.gather(*(engine.infer(entry, each) for each in AT_ONCE), return_exceptions=True)
            alone = [await engine.infer(entry, each) for each in AT_ONCE[:2]]
        assert [type(each) for (each,) in refusals] == [InvalidRequest] * len(WRONG)
        assert isinstance(together[2], InvalidRequest)  # and the others have their answers:
        told.append([*answers, *together[:2], *together[3:]])
        for one, other in zip(together, alone, strict=False):
            assert_same(one, other)
    for one, other in zip(*told, strict=True):
        assert_same(one, other)


async def test_zero_shot_with_token_types_and_entailment_first(engines):
    await assert_agree(
        engines, staged(archives.zero_shot("deberta")), question(TEXTS, ["sports", "economy"], multi=True)
    )


COUNT = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        rows = [pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy().shape for request in requests]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", np.array([[len(requests), width]], np.float32))])
            for _, width in rows
        ]
"""


async def test_requests_of_different_lengths_share_an_execution(engines, tmp_path):
    folder = repositories.python_model(
        tmp_path / "count",
        COUNT,
        "max_batch_size: 4",
        'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] allow_ragged_batch: true } ]',
        'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 2 ] } ]',
        "dynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 20000000 }",
    )
    asked = [request(tensor(np.zeros((1, width), np.float32))) for width in (1, 2, 3, 4)]
    for engine in engines:
        async with resident(engine, staged(folder)) as entry:
            answers = await asyncio.gather(*(engine.infer(entry, each) for each in asked))
        assert [each.outputs[0].data.tolist() for each in answers] == [[[4, width]] for width in (1, 2, 3, 4)]


async def test_one_stage(engines):
    archive = staged(archives.moods())
    await assert_agree(engines, archive, request(cells([[text] for text in TEXTS])), request(cells([[TEXTS[1]]])))


async def test_cascade(engines):
    texts = [*TEXTS, "Please return the parcel.", "What a wonderful film", "a", "The waiter was rude"]
    (answer, *_) = await assert_agree(
        engines,
        staged(archives.spam()),
        request(cells([[text] for text in texts])),
        *(request(cells([[text]])) for text in texts[:3]),
    )
    fired = next(each.data for each in answer.outputs if each.name == "FIRED")
    assert 0 < fired.sum() < len(texts), "the fixture should fire for some of the texts"
