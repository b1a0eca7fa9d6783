"""The inference routes in the OpenAPI page. They are served by the hot path, so FastAPI does not know them."""

from typing import Any, Final

from fastapi import FastAPI

_BODY: Final[dict[str, Any]] = {
    "required": True,
    "description": "KServe v2 JSON, KServe v2 binary, or what the archive's task reads (for text: plain text, or "
    '{"inputs": [...]}). gzip and deflate are read.',
    "content": {
        "application/json": {"schema": {"type": "object"}},
        "text/plain": {"schema": {"type": "string"}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "application/vnd.sagemaker-triton.binary+json": {"schema": {"type": "string", "format": "binary"}},
    },
}
_WARMTH: Final = {
    "x-roundhouse-warmth": {
        "description": "where the archive was: resident, shared, host, disk or store",
        "schema": {"type": "string"},
    },
    "x-roundhouse-load-ms": {"description": "what loading it cost this request", "schema": {"type": "number"}},
}
_TARGET: Final = {
    "name": "X-Amzn-SageMaker-Target-Model",
    "in": "header",
    "description": "which archive, for example minilm.tar.gz",
    "schema": {"type": "string"},
}

# path, tag, what it is, whether TargetModel is read
_ROUTES: Final = (
    ("/invocations", "SageMaker container", "Invoke the default model, or the one that TargetModel names", True),
    ("/models/{id}/invoke", "SageMaker container", "Invoke a loaded model", True),
    ("/endpoints/{endpoint}/invocations", "SageMaker runtime", "InvokeEndpoint", True),
    (
        "/endpoints/{endpoint}/invocations-response-stream",
        "SageMaker runtime",
        "InvokeEndpointWithResponseStream: one event for each response of the model",
        False,
    ),
    ("/v2/models/{name}/infer", "KServe v2", "Infer", False),
    ("/v2/models/{name}/versions/{version}/infer", "KServe v2", "Infer with a version", False),
    ("/v2/models/{name}/generate", "KServe v2", "Triton's generate extension: one flat JSON object in, one out", False),
    ("/v2/models/{name}/generate_stream", "KServe v2", "The same, as Server-Sent Events", False),
)


def with_hot_paths(app: FastAPI) -> None:
    """Add the inference routes to the app's schema."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        schema = plain()
        for path, tag, summary, has_target in _ROUTES:
            schema["paths"].setdefault(path, {})["post"] = _operation(path, tag, summary, has_target)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _operation(path: str, tag: str, summary: str, has_target: bool) -> dict[str, Any]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    in_path = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    return {
        "tags": [tag],
        "summary": summary,
        "parameters": [*in_path, _TARGET] if has_target else in_path,
        "requestBody": _BODY,
        "responses": {
            "200": {"description": "The answer, in the form of the request", "headers": _WARMTH},
            "4XX": {"description": "The request, the archive or its name is wrong; the body says what"},
            "5XX": {"description": "The model or something behind the server failed, or there is no room or time"},
        },
    }
