"""Which paths carry inference requests, and what they name."""

import pytest

from server.api.door import Route, match
from server.api.surface import Surface

MATCHED = [
    ("/invocations", Route(Surface.SINGLE)),
    ("/models/hash1/invoke", Route(Surface.MULTI, "hash1")),
    ("/models/team/minilm.tar.gz/invoke", Route(Surface.MULTI, "team/minilm.tar.gz")),
    ("/endpoints/e/invocations", Route(Surface.RUNTIME, "e")),
    ("/endpoints/e/invocations-response-stream", Route(Surface.RUNTIME, "e", is_stream=True)),
    ("/v2/models/m/infer", Route(Surface.KSERVE, "m")),
    ("/v2/models/team/m.tar.gz/infer", Route(Surface.KSERVE, "team/m.tar.gz")),
    ("/v2/models/team/m.tar.gz/versions/12/infer", Route(Surface.KSERVE, "team/m.tar.gz", "12")),
    ("/v2/models/a/versions/x/infer", Route(Surface.KSERVE, "a/versions/x")),
    ("/v2/models/infer/infer", Route(Surface.KSERVE, "infer")),
    ("/v2/models/team/m/generate", Route(Surface.KSERVE, "team/m", is_generate=True)),
    ("/v2/models/m/versions/1/generate_stream", Route(Surface.KSERVE, "m", "1", is_stream=True, is_generate=True)),
]
NOT_MATCHED = [
    "/",
    "/ping",
    "/models",
    "/models/invoke",
    "/models//invoke",
    "/models/a",
    "/invocations/",
    "/endpoints/e",
    "/endpoints/e/async-invocations",
    "/endpoints//invocations",
    "/v2/models/infer",
    "/v2/models/m/ready",
    "/v2/models/generate",
    "/v2/models//generate",
    "/models/m/generate",
    "/v2/repository/models/m/infer",
]


@pytest.mark.parametrize(("path", "call"), MATCHED)
def test_inference_paths_are_taken_apart(path, call):
    assert call == match(path)


@pytest.mark.parametrize("path", NOT_MATCHED)
def test_other_paths_are_left_to_the_routers(path):
    assert match(path) is None
