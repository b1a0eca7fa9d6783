"""What is asked: a request for any archive, made from what it says it takes. Pure.

Inputs that families name are given something meaningful; other required inputs get fixed pseudo-random values of their
datatype and shape; other optional ones are left out.
"""

import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

_TEXT = "A cup of coffee stands on a wooden table, and the cat beside it looks out of the window."
_DYNAMIC_SIZE = 4
_SEED = 7


def picture() -> bytes:
    """A PNG of 320 x 240: a gradient with a bright disc in the middle, to classify and to segment."""
    rows, columns = np.mgrid[0:240, 0:320]
    colours = np.stack([columns * 255 // 320, rows * 255 // 240, (rows + columns) % 256], axis=-1).astype(np.uint8)
    colours[(rows - 120) ** 2 + (columns - 160) ** 2 < 60**2] = (250, 240, 40)
    file = io.BytesIO()
    Image.fromarray(colours).save(file, "PNG")
    return file.getvalue()


def _meaningful() -> dict[str, list[Any]]:
    image = list(picture())
    return {
        "INPUT0": [_TEXT],
        "INPUT": image,
        "IMAGE": image,
        "image": image,
        "TEXT": [_TEXT],
        "LABELS": ["animals", "breakfast", "politics"],
        "PROMPT": ["a red bicycle in front of a blue door"],
        "prompt_fr": ["a cup of coffee"],
        "prompt_bg": ["a wooden table in a garden"],
        "STEPS": [4],
        "SEED": [_SEED],
        "SCHEDULER": ["ddim"],
    }


def body(config: Mapping[str, Any]) -> str:
    """A KServe v2 request, as JSON, for an archive whose entry model has this config (`GET /v2/models/NAME/config`)."""
    known = _meaningful()
    tensors = []
    for field in config["input"]:
        name, datatype = str(field["name"]), str(field["data_type"]).removeprefix("TYPE_").replace("STRING", "BYTES")
        dims = [int(size) for size in field.get("dims", ())]
        if name in known and _suits(known[name], datatype):
            shape = [*[1] * (len(dims) - 1), len(known[name])]
            data = known[name]
        elif field.get("optional"):
            continue
        else:
            shape = [size if size > 0 else _DYNAMIC_SIZE for size in dims]
            data = _values(datatype, math.prod(shape))
        if int(config.get("max_batch_size", 0)) > 0:
            shape = [1, *shape]
        tensors.append({"name": name, "datatype": datatype, "shape": shape, "data": data})
    return json.dumps({"inputs": tensors})


def _suits(values: Sequence[Any], datatype: str) -> bool:
    return (datatype == "BYTES") == isinstance(values[0], str)


def _values(datatype: str, count: int) -> list[Any]:
    random = np.random.default_rng(_SEED)
    if datatype == "BYTES":
        return [_TEXT] * count
    if datatype == "BOOL":
        return [bool(value) for value in random.integers(0, 2, count)]
    if datatype.startswith(("FP", "BF")):
        return [round(float(value), 4) for value in random.standard_normal(count)]
    return [int(value) for value in random.integers(0, 100, count)]
