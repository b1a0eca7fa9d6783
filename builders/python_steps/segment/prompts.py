"""What a caller points at, checked, and as Segment Anything's decoder wants it. Pure numpy.

Follows `SamPredictor.predict` of segment-anything 1.0, whose results it leads to (see the manifest's parity).
Coordinates are (x, y) in pixels of the original image; the decoder's are those of the image whose longest side is
1024. Labels: 1 belongs to the object, 0 does not; for the decoder also 2 and 3 (the corners of a box) and -1 (padding,
which the model was trained to find behind points without a box).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

SIDE: Final = 1024
LOW_SIDE: Final = 256
MAX_POINTS: Final = 256
"""Each is one more token that attends to the whole image; people click a few times."""
_PADDING, _TOP_LEFT, _BOTTOM_RIGHT = -1, 2, 3


@dataclass(frozen=True)
class Prompt:
    """One object's prompts: points FP32 [n, 2] with labels [n], a box [4] (x0, y0, x1, y1), an earlier mask [256, 256].

    Whatever is None is not given. Nothing given at all means the image's centre.
    """

    points: npt.NDArray[Any] | None = None
    labels: npt.NDArray[Any] | None = None
    box: npt.NDArray[Any] | None = None
    mask: npt.NDArray[Any] | None = None


@dataclass(frozen=True)
class Question:
    """The decoder's inputs.

    Points FP32 [1, n, 2], labels FP32 [1, n], mask FP32 [1, 1, 256, 256], has_mask FP32 [1].
    """

    points: Floats
    labels: Floats
    mask: Floats
    has_mask: Floats


def check(prompt: Prompt) -> None:
    """Refuse what cannot be meant on any image, before anything is computed.

    Raises:
        ValueError: points without as many labels, labels that are not 0 or 1, numbers that are not finite, a box
            without an inside, a mask of another size.
    """
    _check_points(prompt.points, prompt.labels)
    if prompt.box is not None:
        _check_box(prompt.box)
    if prompt.mask is not None:
        if prompt.mask.shape != (LOW_SIDE, LOW_SIDE):
            raise ValueError(
                f"MASK_INPUT must be the LOW_RES mask of an earlier answer, {LOW_SIDE}x{LOW_SIDE} numbers; "
                f"got shape {list(prompt.mask.shape)}"
            )
        if not np.isfinite(prompt.mask).all():
            raise ValueError("MASK_INPUT has numbers that are not finite")


def question(prompt: Prompt, height: int, width: int) -> Question:
    """What to ask the decoder about an image of that size, with a prompt that `check` has let through.

    Raises:
        ValueError: a point or the box is outside the image.
    """
    image = f"the image of {width}x{height} pixels"
    if prompt.points is not None:
        outside = ((prompt.points < 0) | (prompt.points > (width, height))).any(1)
        if outside.any():
            x, y = prompt.points[outside][0]
            raise ValueError(f"point ({x:g}, {y:g}) is outside {image}")
    if prompt.box is not None:
        x0, y0, x1, y1 = map(float, prompt.box)
        if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
            raise ValueError(f"BOX {_told(prompt.box)} is outside {image}")
    points, labels = _decoder_points(prompt, height, width)
    mask = np.zeros((LOW_SIDE, LOW_SIDE), np.float32) if prompt.mask is None else prompt.mask.astype(np.float32)
    return Question(points, labels, mask[None, None], np.array([prompt.mask is not None], np.float32))


def encoder_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the image inside the encoder's square, as `ResizeLongestSide` rounds them."""
    scale = SIDE / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def _decoder_points(prompt: Prompt, height: int, width: int) -> tuple[Floats, Floats]:
    """Coordinates FP32 [1, n, 2] and labels FP32 [1, n] for the decoder."""
    points, labels = prompt.points, prompt.labels
    if points is None and prompt.box is None and prompt.mask is None:
        points, labels = np.array([[width / 2, height / 2]]), np.array([1])
    inside_height, inside_width = encoder_size(height, width)
    scale = np.array([inside_width / width, inside_height / height])
    coordinates, kinds = np.empty((0, 2)), np.empty(0)
    if points is not None and labels is not None:
        coordinates, kinds = points.astype(np.float64) * scale, labels
        if prompt.box is None:
            coordinates, kinds = np.append(coordinates, [[0, 0]], 0), np.append(kinds, _PADDING)
    if prompt.box is not None:
        corners = prompt.box.astype(np.float64).reshape(2, 2) * scale
        coordinates, kinds = np.append(coordinates, corners, 0), np.append(kinds, [_TOP_LEFT, _BOTTOM_RIGHT])
    return coordinates.astype(np.float32)[None], kinds.astype(np.float32)[None]


def _check_points(points: npt.NDArray[Any] | None, labels: npt.NDArray[Any] | None) -> None:
    if points is None or labels is None:
        if points is not None or labels is not None:
            given, missing = ("POINTS", "POINT_LABELS") if labels is None else ("POINT_LABELS", "POINTS")
            raise ValueError(f"{given} needs {missing}: each point has the label 1 (object) or 0 (background)")
        return
    if points.ndim != 2 or points.shape[1] != 2 or not 1 <= len(points) <= MAX_POINTS:
        raise ValueError(f"POINTS must be 1 to {MAX_POINTS} pairs (x, y); got shape {list(points.shape)}")
    if labels.shape != (len(points),):
        raise ValueError(f"POINT_LABELS has {labels.size} labels for {len(points)} points")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("POINT_LABELS may hold 1 (object) and 0 (background) only")
    if not np.isfinite(points).all():
        raise ValueError("POINTS has numbers that are not finite")


def _check_box(box: npt.NDArray[Any]) -> None:
    if box.shape != (4,):
        raise ValueError(f"BOX must be (x0, y0, x1, y1); got shape {list(box.shape)}")
    if not np.isfinite(box).all():
        raise ValueError("BOX has numbers that are not finite")
    if box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(f"BOX {_told(box)} has no inside: it is (x0, y0, x1, y1) with x0 < x1 and y0 < y1")


def _told(box: npt.NDArray[Any]) -> str:
    return f"({', '.join(f'{number:g}' for number in map(float, box))})"
