"""Stable Diffusion, loop and all, through the real Triton and through the embedded engine: equal pictures."""

from dataclasses import replace

import numpy as np
import pytest

from server.domain.errors import InvalidRequest
from tests.differential.engines import resident
from tests.fakes import diffusion
from tests.fakes.diffusion import asked, mask, picture

pytestmark = [
    pytest.mark.triton,
    pytest.mark.builders,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("generative"),
]

WISHES = {
    "text to image": asked(steps=3, seed=7, scheduler="dpm++", progress_every=1, preview_every=2),
    "two images": asked(seed=7, num_images=2, height=96, scheduler="euler"),
    "image to image": asked(steps=4, seed=1, scheduler="ddim", strength=0.5, image=picture(70, 90)),
    "inpainting": asked(steps=3, seed=1, image=picture(), mask=mask(), progress_every=2),
    "one output": replace(asked(seed=7), outputs=("IMAGES",)),
}
WRONG = {
    "too many steps": asked(steps=1000),
    "no number": asked(guidance=float("nan")),
    "an unknown scheduler": asked(scheduler="heun"),
}


async def test_both_engines_paint_the_same_pictures(engines, tmp_path):
    archive = diffusion.staged(tmp_path / "steps")
    told = []
    for engine in engines:
        async with resident(engine, archive) as entry:
            told.append({name: await answers(engine, entry, wish) for name, wish in WISHES.items()})
            for wish in WRONG.values():
                with pytest.raises(InvalidRequest):
                    await answers(engine, entry, wish)
    triton, embedded = told
    for name in WISHES:
        assert [sorted(answer) for answer in triton[name]] == [sorted(answer) for answer in embedded[name]], name
        for one, other in zip(triton[name], embedded[name], strict=True):
            for output in one:
                assert one[output].dtype == other[output].dtype
                difference = np.abs(one[output].astype(int) - other[output].astype(int)).max()
                assert difference <= (1 if output in {"IMAGES", "PREVIEW"} else 0), (name, output)


async def answers(engine, entry, wish):
    """All answers with outputs, by the outputs' names."""
    told = [{each.name: each.data for each in answer.outputs} async for answer in engine.stream(entry, wish)]
    return [each for each in told if each]
