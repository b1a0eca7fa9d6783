"""What loading an ONNX graph holds for a moment above what is left of it, guessed from its files. For both engines."""

from typing import Final

from server.domain.model import Step

_INSIDE_FACTOR: Final = 1.1
"""For each byte of an ONNX file with its weights inside. Seen: 0.5 (MiniLM) to 1.0 (a single matrix)."""


def guessed(step: Step) -> int:
    """Bytes that loading `step` holds at its worst moment above its later charge."""
    if step.backend != "onnxruntime":
        return 0
    inside = sum(file.stat().st_size for file in step.directory.glob("*/*.onnx"))
    return int(inside * _INSIDE_FACTOR)
