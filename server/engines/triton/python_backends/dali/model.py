"""Triton backend `dali` on top of its Python backend, for a Triton that has no native one (the pip wheel's).

Runs in Triton's Python stub, whose Python needs nvidia.dali. `dali_pipeline.py` and `image_header.py` are copied beside
this file; they are the very code that the embedded engine runs. Config parameter: `num_threads`, as in Triton's own.
"""

import json
import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

sys.path.insert(0, str(Path(__file__).parent))  # the stub knows this folder as a package only

import dali_pipeline
import image_header

_DEFAULT_DEVICE = 0


def _edges(specs):
    return [
        dali_pipeline.Edge(
            spec["name"],
            np.dtype(pb_utils.triton_string_to_numpy(spec["data_type"])),
            len((spec.get("reshape") or {}).get("shape", spec["dims"])),
        )
        for spec in specs
    ]


def _device_id(args):
    return int(args["model_instance_device_id"] or _DEFAULT_DEVICE) if args["model_instance_kind"] == "GPU" else None


class TritonPythonModel:
    """One pipeline per instance; the requests of a batch run as one batch."""

    def initialize(self, args):
        """Build the pipeline that the config names, from the newest version folder."""
        config = json.loads(args["model_config"])
        file = config.get("default_model_filename") or dali_pipeline.DEFAULT_FILENAME
        threads = config.get("parameters", {}).get("num_threads", {}).get("string_value")
        if config.get("max_batch_size", 0) < 1:
            raise ValueError("Invalid model configuration: the dali backend needs max_batch_size > 0")
        try:
            self._pipeline = dali_pipeline.DaliPipeline(
                Path(args["model_repository"], args["model_version"], file).read_bytes(),
                config["max_batch_size"],
                int(threads or dali_pipeline.DEFAULT_THREADS),
                _device_id(args),
                image_header.weigh,
            )
            self._inputs, self._outputs = _edges(config["input"]), _edges(config["output"])
            self._pipeline.compare(self._inputs, self._outputs)
        except dali_pipeline.Unsupported as error:
            raise ValueError(f"backend dali is not supported here: {error}") from error
        except dali_pipeline.Unfit as error:
            raise ValueError(f"invalid model configuration: {error}") from error

    def execute(self, requests):
        """Run every request; an image that does not decode fails its own request only."""
        samples = [
            {edge.name: pb_utils.get_input_tensor_by_name(request, edge.name).as_numpy() for edge in self._inputs}
            for request in requests
        ]
        return [
            self._respond(request, result)
            for request, result in zip(requests, self._pipeline.run(samples), strict=True)
        ]

    def _respond(self, request, result):
        if isinstance(result, dali_pipeline.SampleRefused):
            error = pb_utils.TritonError(str(result), pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse([], error)
        if isinstance(result, Exception):
            error = pb_utils.TritonError(f"{type(result).__name__}: {result}", pb_utils.TritonError.INTERNAL)
            return pb_utils.InferenceResponse([], error)
        asked = request.requested_output_names()
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(edge.name, array)
                for edge, array in zip(self._outputs, result, strict=True)
                if edge.name in asked
            ]
        )

    def finalize(self):
        """Free the pipeline."""
        self._pipeline = None
