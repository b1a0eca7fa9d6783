"""What segmentation archives are sent and answer: pictures, arrays, prompts in JSON; lists, npy, PNG, run lengths."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from server.codecs.tasks.segmentation import COCO_RLE
from server.domain.errors import InferenceFailed, InvalidRequest, NotAcceptable, UnsupportedMediaType
from tests.unit.codecs.codec_archives import archive, ask, document, tensor, written

NPY, PNG, JSON = "application/x-npy", "image/png", "application/json"
INPUTS = [
    ("IMAGE", "UINT8", (-1,)),
    ("POINTS", "FP32", (-1, 2), True),
    ("POINT_LABELS", "INT32", (-1,), True),
    ("BOX", "FP32", (4,), True),
    ("MASK_INPUT", "FP32", (256, 256), True),
    ("MULTIMASK", "BOOL", (1,), True),
]
OUTPUTS = [("MASKS", "UINT8", (-1, -1, -1)), ("IOU", "FP32", (-1,)), ("LOW_RES", "FP32", (-1, 256, 256))]
SAM = archive(INPUTS, OUTPUTS, task="image-segmentation", name="sam")
PICTURE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
MASKS = np.array([[[0, 0, 1], [0, 1, 1]], [[1, 0, 0], [1, 1, 0]]], np.uint8)
ANSWER = (
    tensor("MASKS", "UINT8", MASKS),
    tensor("IOU", "FP32", [0.25, 0.75]),
    tensor("LOW_RES", "FP32", np.zeros((2, 256, 256))),
)
LOW_RES = np.linspace(-1, 1, 256 * 256).reshape(256, 256).tolist()


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def with_image(**prompts):
    return {"image": base64.b64encode(png(PICTURE)).decode(), **prompts}


def pixels(decoded):
    """The picture that the archive will see."""
    with Image.open(io.BytesIO(decoded.request.inputs["IMAGE"].data.tobytes())) as image:
        return np.asarray(image).tolist()


ALONE = [
    (png(PICTURE), PNG),
    (png(PICTURE), "application/octet-stream"),
    (npy(PICTURE), NPY),
    (PICTURE.tolist(), JSON),
    (PICTURE.tolist(), "application/octet-stream"),
]


@pytest.mark.parametrize(("body", "content_type"), ALONE, ids=["png", "octets", "npy", "lists", "list octets"])
def test_a_picture_alone_is_answered_with_the_best_mask(body, content_type):
    decoded = ask(SAM, body, content_type)
    assert set(decoded.request.inputs) == {"IMAGE"}
    assert pixels(decoded) == PICTURE.tolist()
    answer, text = written(decoded, *ANSWER)
    assert (answer.content_type, json.loads(text)) == (JSON, MASKS[1].tolist())


DOCUMENTS = [
    with_image(),
    {"image": PICTURE.tolist()},
    {"image": PICTURE.astype(float).tolist()},
    {"image": "data:image/png;base64," + with_image()["image"]},
]


@pytest.mark.parametrize("body", DOCUMENTS, ids=["base64", "lists", "floats", "data url"])
def test_an_object_is_answered_with_all_masks(body):
    decoded = ask(SAM, body)
    assert pixels(decoded) == PICTURE.tolist()
    _, text = written(decoded, *ANSWER)
    assert json.loads(text) == {"masks": MASKS.tolist(), "iou": [0.25, 0.75], "size": [2, 3]}


def test_grey_pictures_and_those_with_alpha_are_pictures():
    alpha = np.concatenate([PICTURE, PICTURE[:, :, :1]], axis=2)
    assert pixels(ask(SAM, npy(alpha), NPY)) == PICTURE.tolist()
    assert pixels(ask(SAM, {"image": PICTURE[:, :, 0].tolist()})) == PICTURE[:, :, 0].tolist()


def test_a_large_picture_of_lists_is_the_same_picture():
    large = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    asked = {"image": large.tolist(), "points": [[1.5, 2]], "point_labels": [1], "mask_input": [LOW_RES]}
    decoded = ask(SAM, asked)
    assert pixels(decoded) == large.tolist()
    assert decoded.request.inputs["MASK_INPUT"].data.shape == (256, 256)


def test_prompts_become_inputs():
    asked = with_image(
        points=[[1, 2.5], [3, 4]], point_labels=[1, 0], box=[0, 1, 2, 3], mask_input=LOW_RES, multimask_output=False
    )
    inputs = ask(SAM, asked).request.inputs
    assert {name: (each.datatype, each.data.dtype.name) for name, each in inputs.items()} == {
        "IMAGE": ("UINT8", "uint8"),
        "POINTS": ("FP32", "float32"),
        "POINT_LABELS": ("INT32", "int32"),
        "BOX": ("FP32", "float32"),
        "MASK_INPUT": ("FP32", "float32"),
        "MULTIMASK": ("BOOL", "bool"),
    }
    assert inputs["POINTS"].data.tolist() == [[1, 2.5], [3, 4]]
    assert inputs["POINT_LABELS"].data.tolist() == [1, 0]
    assert inputs["BOX"].data.tolist() == [0, 1, 2, 3]
    assert inputs["MULTIMASK"].data.tolist() == [False]


def test_numbers_that_are_not_finite_reach_the_model_which_refuses_them():
    raw = json.dumps(with_image(box=[float("nan"), 0, float("inf"), 1e300])).encode()
    box = ask(SAM, raw).request.inputs["BOX"].data
    assert np.isnan(box[0])
    assert np.isinf(box[2:]).all()


REFUSED = [
    (with_image(point=[[1, 2]]), "unknown keys ['point']"),
    (with_image(points=[[1, "2"]]), "'points' must hold numbers only"),
    (with_image(points=[[1, 2], [3]]), "equally long"),
    (with_image(points=7), "'points' must be a list"),
    (with_image(points=[[1, 2]], point_coords=[[1, 2]]), "are the same"),
    (with_image(point_labels=[0.5]), "whole numbers"),
    (with_image(multimask_output=1), "true or false"),
    ({"image": 7}, "'image' without base64 must be a list"),
    ({"image": "###"}, "base64"),
    ({"image": base64.b64encode(b"no picture").decode()}, "cannot be read as an image"),
    ({"image": [[300, 1], [1, 1]]}, "0 to 255"),
    ({"image": [[0.5, 1], [1, 1]]}, "0 to 255"),
    ({"image": [[-1, 1], [1, 1]]}, "0 to 255"),
    ({"image": [1, 2, 3]}, "[height, width, 3]"),
    ({"image": [[[1, 2], [1, 2]]]}, "[height, width, 3]"),
    ({"image": []}, "[height, width, 3]"),
    (b"", "empty"),
]


@pytest.mark.parametrize(("body", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_read_is_refused_in_words(body, words):
    with pytest.raises(InvalidRequest) as caught:
        ask(SAM, body, PNG if body == b"" else JSON)
    assert words in str(caught.value)


def test_masks_as_npy():
    _, alone = written(ask(SAM, npy(PICTURE), NPY, NPY), *ANSWER)
    _, all_of_them = written(ask(SAM, with_image(), accept=NPY), *ANSWER)
    assert np.load(io.BytesIO(alone)).tolist() == MASKS[1].tolist()
    assert np.load(io.BytesIO(all_of_them)).tolist() == MASKS.tolist()


@pytest.mark.parametrize(
    "body", [with_image(), document(list(b"abc"), (3,), "UINT8", "IMAGE")], ids=["object", "kserve"]
)
def test_the_best_mask_as_png(body):
    answer, picture = written(ask(SAM, body, accept=PNG), *ANSWER)
    assert answer.content_type == PNG
    with Image.open(io.BytesIO(picture)) as image:
        assert (np.asarray(image.convert("L")) == MASKS[1] * 255).all()


def test_masks_as_run_lengths():
    _, alone = written(ask(SAM, png(PICTURE), PNG, COCO_RLE), *ANSWER)
    answer, text = written(ask(SAM, with_image(), accept=COCO_RLE), *ANSWER)
    assert json.loads(alone) == {"masks": [{"size": [2, 3], "counts": "021O1"}], "iou": [0.75]}
    assert answer.content_type == COCO_RLE
    assert [mask["counts"] for mask in json.loads(text)["masks"]] == ["33", "021O1"]


def test_logits_on_demand():
    _, text = written(ask(SAM, with_image(return_low_res=True)), *ANSWER)
    assert np.array(json.loads(text)["low_res"]).shape == (2, 256, 256)


def test_what_cannot_be_written_is_refused():
    with pytest.raises(NotAcceptable, match="x-coco-rle"):
        ask(SAM, png(PICTURE), PNG, "text/html")
    with pytest.raises(UnsupportedMediaType, match="image/jpeg"):
        ask(SAM, b"a,b", "text/csv")
    two_of_three = document(list(b"abc"), (3,), "UINT8", "IMAGE", outputs=[{"name": "IOU"}])
    with pytest.raises(InvalidRequest, match="MASKS and IOU"):
        written(ask(SAM, two_of_three, accept=PNG), ANSWER[1])


@pytest.mark.parametrize(
    "given", [[], [ANSWER[0]], [tensor("MASKS", "UINT8", np.zeros((0, 2, 3))), tensor("IOU", "FP32", [])]], ids=range(3)
)
def test_a_model_that_gives_no_masks_has_failed(given):
    with pytest.raises(InferenceFailed):
        written(ask(SAM, png(PICTURE), PNG), *given)


def test_kserve_requests_work_as_for_every_archive():
    decoded = ask(SAM, document(list(b"abc"), (3,), "UINT8", "IMAGE"))
    _, text = written(decoded, *ANSWER)
    assert decoded.request.inputs["IMAGE"].data.tolist() == list(b"abc")
    assert [output["name"] for output in json.loads(text)["outputs"]] == ["MASKS", "IOU", "LOW_RES"]
