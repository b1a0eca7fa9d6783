"""KServe v2: readiness, metadata, configuration and statistics of one archive.

An archive is ready when a request for it would be served: it is in the store (or was loaded) and is intact. Whether it
is in memory right now is the repository index's business: clients ask for readiness before their first request, which
is what brings an archive into memory.
"""

from typing import Any

from fastapi import APIRouter, Response

from server.api.door import versioned
from server.api.parts import Parts
from server.codecs.kserve import kserve_metadata
from server.domain.model import StagedArchive


def router(parts: Parts) -> APIRouter:
    """Build the routes. A name may have slashes, and `/versions/<v>` behind it: the longer paths come first."""
    routes = APIRouter(tags=["KServe v2"])

    async def staged(path: str) -> StagedArchive:
        return await parts.models.staged(*versioned(path))

    @routes.get("/v2/models/stats", summary="Statistics of every archive in memory")
    async def all_statistics() -> dict[str, object]:
        return {"model_stats": [_statistics(parts, name) for name in parts.models.resident_names()]}

    @routes.get("/v2/models/{name:path}/ready", summary="Whether the archive can be served")
    async def ready(name: str) -> Response:
        await staged(name)
        return Response(status_code=200)

    @routes.get("/v2/models/{name:path}/config", summary="The entry model's configuration")
    async def config(name: str) -> dict[str, Any]:
        return kserve_metadata.config(await staged(name))

    @routes.get("/v2/models/{name:path}/stats", summary="Statistics of one archive")
    async def statistics(name: str) -> dict[str, object]:
        return {"model_stats": [_statistics(parts, (await staged(name)).name)]}

    @routes.get("/v2/models/{name:path}", summary="Inputs and outputs of the archive")
    async def metadata(name: str) -> dict[str, Any]:
        return kserve_metadata.metadata(await staged(name))

    return routes


def _statistics(parts: Parts, name: str) -> dict[str, object]:
    counted = parts.metrics.statistics(name)
    infer_ns, all_ns = int(counted["infer_s"] * 1e9), int((counted["infer_s"] + counted["overhead_s"]) * 1e9)
    count = int(counted["count"])
    return {
        "name": name,
        "version": "1",
        "last_inference": 0,
        "inference_count": count,
        "execution_count": count,
        "inference_stats": {
            "success": {"count": count, "ns": all_ns},
            "fail": {"count": int(counted["errors"]), "ns": 0},
            "compute_infer": {"count": count, "ns": infer_ns},
        },
        "batch_stats": [],
    }
