"""What every `Engine` promises. The engines are in `engine_subjects.py`."""

import asyncio

import pytest

from server.domain.errors import InferenceFailed, InvalidArchive, LoadFailed, UnsupportedModel
from server.domain.model import StepDigest
from tests.contract.engine_subjects import request, subject

__all__ = ["subject"]


async def test_it_is_ready_after_start(subject):
    assert subject.engine.is_ready
    assert subject.engine.describe()["kind"]


async def test_predictions_are_there_before_anything_is_loaded(subject):
    for step in subject.steps:
        assert sum(subject.engine.predict(step).bytes_by_device.values()) > 0


async def test_a_load_gives_a_footprint_on_the_predicted_devices(subject):
    for step in subject.steps:
        footprint = await subject.engine.load(step)
        assert set(footprint.bytes_by_device) == set(subject.engine.predict(step).bytes_by_device)
        assert all(size > 0 for size in footprint.bytes_by_device.values())


async def test_a_loaded_pipeline_answers(subject):
    await subject.load_all()
    response = await subject.engine.infer(subject.entry.digest, request(batch=3))
    assert response.outputs[0].shape[0] == 3


async def test_requests_at_the_same_time_are_all_answered(subject):
    await subject.load_all()
    answers = await asyncio.gather(*(subject.engine.infer(subject.entry.digest, request()) for _ in range(20)))
    assert len(answers) == 20


async def test_a_stream_of_an_ordinary_model_has_one_answer(subject):
    await subject.load_all()
    answers = [answer async for answer in subject.engine.stream(subject.entry.digest, request())]
    assert len(answers) == 1


async def test_a_step_that_is_not_loaded_cannot_be_asked(subject):
    with pytest.raises(InferenceFailed):
        await subject.engine.infer(subject.entry.digest, request())


async def test_an_unloaded_step_cannot_be_asked_and_can_be_loaded_again(subject):
    await subject.load_all()
    await subject.engine.unload(subject.entry.digest)
    with pytest.raises(InferenceFailed):
        await subject.engine.infer(subject.entry.digest, request())
    await subject.engine.load(subject.entry)
    assert (await subject.engine.infer(subject.entry.digest, request())).outputs


async def test_unloading_what_is_unknown_does_nothing(subject):
    await subject.engine.unload(StepDigest("0" * 64))
    assert subject.engine.is_ready


async def test_a_load_that_fails_leaves_the_engine_as_it_was(subject):
    if subject.refused is None:
        pytest.skip("this engine refuses nothing by itself")
    with pytest.raises((LoadFailed, InvalidArchive, UnsupportedModel)):
        await subject.engine.load(subject.refused)
    await subject.load_all()
    assert (await subject.engine.infer(subject.entry.digest, request())).outputs


async def test_stopping_twice_is_fine(subject):
    await subject.load_all()
    await subject.engine.stop()
    await subject.engine.stop()
    assert not subject.engine.is_ready
