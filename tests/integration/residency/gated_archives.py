"""Python archives that wait for a file to appear, so that a test decides when a load or a request ends."""

from pathlib import Path

from tests.fakes.repositories import python_model, tensor_entry

_MODEL = """
import os
import time

import triton_python_backend_utils as pb_utils


def wait_for(gate):
    open(gate + ".reached", "w").close()
    deadline = time.monotonic() + 60
    while not os.path.exists(gate) and time.monotonic() < deadline:
        time.sleep(0.01)


class TritonPythonModel:
    def initialize(self, args):
        if {on_load}:
            wait_for({gate!r})

    def execute(self, requests):
        if not {on_load}:
            wait_for({gate!r})
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("OUTPUT0", 2 * pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy())]
            )
            for request in requests
        ]
"""


class Gate:
    """A file. Whoever waits for it goes on once it is open."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def is_reached(self) -> bool:
        """Whether somebody waits, or has waited."""
        return self.path.with_name(f"{self.path.name}.reached").exists()

    def open(self) -> None:
        """Let everybody through."""
        self.path.touch()


def write_gated(folder: Path, gate: Gate, *, on_load: bool = False) -> Path:
    """OUTPUT0 = 2 * INPUT0, both FP32 [batch, 4], once the gate is open: for requests, or `on_load` for the load."""
    python_model(
        folder / "gated",
        _MODEL.format(gate=str(gate.path), on_load=on_load),
        "max_batch_size: 8",
        f"input [ {tensor_entry('INPUT0', 'FP32', [4])} ]",
        f"output [ {tensor_entry('OUTPUT0', 'FP32', [4])} ]",
    )
    return folder
