"""One answer from a decoupled model, for callers who do not read a stream.

Such a model may answer a request any number of times. Its last response that has outputs is the answer: models that
show what they have on the way (previews, growing texts) send the finished thing last. The generate extension promises
exactly one response instead (`Decoded.is_only_one`), and more or fewer are an error there, as in Triton.
"""

from contextlib import aclosing

from server.domain.errors import InferenceFailed
from server.domain.inference import InferenceResponse
from server.domain.model import StagedArchive
from server.domain.payload import Decoded
from server.domain.ports import Engine


async def only_answer(engine: Engine, archive: StagedArchive, asked: Decoded) -> InferenceResponse:
    """Run a request to its end, and pick the answer.

    Raises:
        InferenceFailed: no response had outputs; or there was not exactly one where one was promised.
        And all that `Engine.stream` raises.
    """
    count, last = 0, None
    async with aclosing(engine.stream(archive.entry, asked.request)) as responses:
        async for response in responses:
            count += 1
            last = response if response.outputs else last
            if asked.is_only_one and count > 1:
                raise InferenceFailed(
                    f"generate needs exactly one response, but model '{archive.name}' gives more; use generate_stream"
                )
    if last is None:
        raise InferenceFailed(f"model '{archive.name}' ended without an answer")
    return last
