"""KServe v2 model metadata and model configuration, as JSON-ready dictionaries."""

from typing import Any, Final

from server.codecs.kserve.kserve_reply import MODEL_VERSION
from server.domain.model import ModelSignature, StagedArchive, TensorSpec

_BYTES_IN_CONFIG: Final = "TYPE_STRING"  # config.pbtxt's one name that differs from the protocol's


def metadata(archive: StagedArchive) -> dict[str, Any]:
    """Describe the archive for `GET /v2/models/{name}`; shapes carry the batch axis as -1 where there is one."""
    signature = archive.signature
    return {
        "name": archive.name,
        "versions": [MODEL_VERSION],
        "platform": signature.platform,
        "inputs": [_tensor(spec, signature) for spec in signature.inputs],
        "outputs": [_tensor(spec, signature) for spec in signature.outputs],
    }


def config(archive: StagedArchive) -> dict[str, Any]:
    """Describe the archive for `GET /v2/models/{name}/config`; dims are without the batch axis."""
    signature = archive.signature
    return {
        "name": archive.name,
        "platform": signature.platform,
        "backend": archive.entry_step.backend,
        "max_batch_size": signature.max_batch_size,
        "input": [{**_config_tensor(spec), "optional": spec.is_optional} for spec in signature.inputs],
        "output": [_config_tensor(spec) for spec in signature.outputs],
        "model_transaction_policy": {"decoupled": signature.is_decoupled},
    }


def _tensor(spec: TensorSpec, signature: ModelSignature) -> dict[str, Any]:
    shape = [-1, *spec.dims] if signature.is_batched else list(spec.dims)
    return {"name": spec.name, "datatype": spec.datatype, "shape": shape}


def _config_tensor(spec: TensorSpec) -> dict[str, Any]:
    data_type = _BYTES_IN_CONFIG if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"
    return {"name": spec.name, "data_type": data_type, "dims": list(spec.dims)}
