"""The models of the black-box tests: tiny, real, and each able to show one thing of the contract."""

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import helper

from tests.fakes.repositories import ONNX_TYPES, python_model, save_onnx, tensor_entry, write_config

EVERY_TYPE = ("BOOL", "UINT8", "INT8", "INT32", "INT64", "FP32", "FP64", "BYTES")
"""The datatypes that travel as JSON and that `typed` has an input of."""

TEXT_IO = (
    "max_batch_size: 0",
    'input [ { name: "INPUT0" data_type: TYPE_STRING dims: [ 1 ] } ]',
    'output [ { name: "OUTPUT0" data_type: TYPE_STRING dims: [ 1 ] } ]',
)
NUMBER_IO = (
    "max_batch_size: 8",
    'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 4 ] } ]',
    'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 4 ] } ]',
)

MOODY = """
import json
import os
import sys
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        word, _, rest = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()[0].decode().partition(" ")
        if word == "raise":
            raise ValueError("raised on purpose")
        if word == "error":
            return pb_utils.InferenceResponse([], pb_utils.TritonError("told on purpose"))
        if word == "oom":
            return pb_utils.InferenceResponse([], pb_utils.TritonError("CUDA out of memory. Tried to allocate 2 GiB"))
        if word == "memory":
            raise MemoryError("no room for the activations")
        if word == "sys.exit":
            sys.exit(3)
        if word == "die":
            os._exit(5)
        if word == "wait":
            until = time.monotonic() + 60
            open(rest + ".waiting", "w").close()
            while not os.path.exists(rest) and time.monotonic() < until:
                time.sleep(0.01)
        said = {"pid": str(os.getpid()), "parameters": request.parameters()}.get(word, word)
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", np.array([str(said)], dtype=np.object_))])
"""
"""Does what its text says: `raise`, `error`, `oom`, `memory`, `sys.exit`, `die`, `wait FILE`, `pid`, `parameters`."""

STARTING = """
import json
import os
import sys
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        {start}

    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("OUTPUT0", pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy())]
            )
            for request in requests
        ]
"""

UNCONFIGURED = '''
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Echoes, and says itself what it takes."""

    @staticmethod
    def auto_complete_config(config):
        config.add_input({"name": "INPUT0", "data_type": "TYPE_FP32", "dims": [4]})
        config.add_output({"name": "OUTPUT0", "data_type": "TYPE_FP32", "dims": [4]})
        config.set_max_batch_size(8)
        return config

    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("OUTPUT0", pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy())]
            )
            for request in requests
        ]
'''

CALLING = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            call = pb_utils.InferenceRequest(
                model_name="helper",
                requested_output_names=["OUTPUT0"],
                inputs=[pb_utils.get_input_tensor_by_name(request, "INPUT0")],
            )
            answer = call.exec()
            responses.append(pb_utils.InferenceResponse(answer.output_tensors()))
        return responses
"""

DECOUPLED = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            tensor = pb_utils.Tensor("OUTPUT0", pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy())
            request.get_response_sender().send(pb_utils.InferenceResponse([tensor]), flags=1)
"""


COUNTING = """
import os
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            for word in pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy().ravel()[0].decode().split():
                self.act(word, sender)
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def act(self, word, sender):
        verb, _, path = word.partition(":")
        if verb == "fail":
            sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError("told on purpose")))
        elif verb == "die":
            os._exit(5)
        elif verb == "endless":
            until = time.monotonic() + 60
            while not sender.is_cancelled() and time.monotonic() < until:
                self.say("more", sender)
                time.sleep(0.01)
            open(path, "w").close()
        else:
            self.say(verb, sender)

    def say(self, word, sender):
        tensor = pb_utils.Tensor("OUTPUT0", np.array([word], dtype=np.object_))
        sender.send(pb_utils.InferenceResponse([tensor]))
"""
"""Decoupled: a response for each word of its text, but for `fail`, `die`, and `endless:FILE`.

`endless` sends until the caller is gone, and then writes the file.
"""

SESSIONS = """
import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            asked = json.loads(request.parameters()).get("session_id", "")
            said = {
                "NEW_SESSION": {"new_session_id": "s-1", "session_expires": "2026-01-01T12:00:00Z"},
                "s-2": {"closed_session_id": "s-2"},
            }.get(asked, {})
            tensor = pb_utils.Tensor("OUTPUT0", np.array([asked], dtype=np.object_))
            try:
                responses.append(pb_utils.InferenceResponse([tensor], parameters=said))
            except TypeError:  # Triton 2.51 has no response parameters
                responses.append(pb_utils.InferenceResponse([tensor]))
        return responses
"""
"""Opens `s-1` for NEW_SESSION, closes `s-2`, and answers the session id that it was told."""


def counting(folder: Path) -> Path:
    """A step that streams the words of its text. BYTES [1] to BYTES [1]."""
    return python_model(folder, COUNTING, *TEXT_IO, "model_transaction_policy { decoupled: true }")


def sessions(folder: Path) -> Path:
    """A step with sessions. BYTES [1] to BYTES [1]."""
    return python_model(folder, SESSIONS, *TEXT_IO)


def moody(folder: Path) -> Path:
    """A step that does what its text says. BYTES [1] to BYTES [1]."""
    return python_model(folder, MOODY, *TEXT_IO)


def starting(folder: Path, start: str) -> Path:
    """An echo of FP32 [batch, 4] whose `initialize` runs the line `start`."""
    return python_model(folder, STARTING.format(start=start), *NUMBER_IO)


def gated(folder: Path, gate: Path) -> Path:
    """An echo that is loaded once the file `gate` is there; `gate`.waiting says that the load has begun."""
    begin = f"until = time.monotonic() + 60; open({str(gate) + '.waiting'!r}, 'w').close()"
    loop = f"while not os.path.exists({str(gate)!r}) and time.monotonic() < until: time.sleep(0.01)"
    return starting(folder, f"{begin}\n        {loop}")


def unconfigured(folder: Path) -> Path:
    """A python step without config.pbtxt that completes its own."""
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(UNCONFIGURED)
    return folder


def decoupled(folder: Path) -> Path:
    """A step that may answer any number of times."""
    return python_model(folder, DECOUPLED, *NUMBER_IO, "model_transaction_policy { decoupled: true }")


def calling(folder: Path) -> Path:
    """A step that asks `helper`, a model beside it, without declaring so."""
    return python_model(folder, CALLING, *NUMBER_IO)


def typed(folder: Path, datatypes: Sequence[str] = EVERY_TYPE) -> Path:
    """One input `IN_<datatype>` of any length for each datatype, each echoed as `OUT_<datatype>`. Not batched."""
    nodes, sources, results = [], [], []
    for each in datatypes:
        nodes.append(helper.make_node("Identity", [f"IN_{each}"], [f"OUT_{each}"]))
        sources.append(helper.make_tensor_value_info(f"IN_{each}", ONNX_TYPES[each], [f"n_{each}"]))
        results.append(helper.make_tensor_value_info(f"OUT_{each}", ONNX_TYPES[each], [f"n_{each}"]))
    graph: onnx.GraphProto = helper.make_graph(nodes, "typed", sources, results)
    save_onnx(folder, graph)
    return write_config(
        folder,
        f'name: "{folder.name}"',
        'backend: "onnxruntime"',
        "max_batch_size: 0",
        f"input [ {', '.join(tensor_entry(f'IN_{each}', each, [-1]) for each in datatypes)} ]",
        f"output [ {', '.join(tensor_entry(f'OUT_{each}', each, [-1]) for each in datatypes)} ]",
    )
