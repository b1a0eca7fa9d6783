"""Image files of every kind: the header says what Pillow says, arrays come back bit for bit, damage is told."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from server.codecs.images import image_files
from server.domain import image_header
from server.domain.errors import InvalidRequest

SIDES = st.integers(1, 40)
FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM"]
MODES = {
    "JPEG": ["L", "RGB", "CMYK"],
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "WEBP": ["RGB", "RGBA"],
    "BMP": ["1", "L", "P", "RGB", "RGBA"],
    "TIFF": ["1", "L", "RGB", "RGBA", "CMYK", "I;16"],
    "PPM": ["L", "RGB"],
}
KINDS = [(form, mode) for form in FORMATS for mode in MODES[form]]


def encode(form, mode="RGB", size=(3, 2), **how):
    file = io.BytesIO()
    Image.new(mode, size).save(file, form, **how)
    return file.getvalue()


def picture(channels=(3,)):
    return st.tuples(SIDES, SIDES, st.sampled_from(channels)).flatmap(
        lambda shape: hnp.arrays(np.uint8, shape if shape[2] else shape[:2])
    )


def npy_file(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(("form", "mode"), KINDS)
@given(width=SIDES, height=SIDES)
def test_the_header_says_the_size(form, mode, width, height):
    body = encode(form, mode, (width, height))
    header = image_header.read_header(body)
    assert (header.width, header.height, header.pixels) == (width, height, width * height)
    assert image_files.encoded_image(memoryview(body), width * height) == body


@pytest.mark.parametrize(
    ("form", "how"),
    [
        ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": b"Exif\x00\x00" + b"\xff\xc0\x00\x11" * 200}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\x00\x00"}),
        ("TIFF", {"compression": "tiff_lzw", "big_endian": True}),
        ("PNG", {"optimize": True}),
    ],
)
def test_the_ways_to_save_a_file(form, how):
    header = image_header.read_header(encode(form, size=(37, 21), **how))
    assert (header.format, header.width, header.height) == (form.lower(), 37, 21)


def test_a_big_endian_tiff():
    entries = b"".join(
        tag.to_bytes(2, "big") + b"\x00\x03\x00\x00\x00\x01" + side.to_bytes(2, "big") + b"\x00\x00"
        for tag, side in ((256, 640), (257, 480))
    )
    header = image_header.read_header(b"MM\x00*\x00\x00\x00\x08\x00\x02" + entries)
    assert (header.width, header.height) == (640, 480)


def test_comments_in_a_pnm_file():
    assert image_header.read_header(b"P6 # made by\n# hand\n 12\n34\n255\n").width == 12


@pytest.mark.parametrize(("form", "mode"), [(form, MODES[form][-1]) for form in FORMATS])
@given(keep=st.integers(0, 60), junk=st.binary(max_size=60))
def test_a_damaged_file_is_told_or_its_size_is_read(form, mode, keep, junk):
    body = encode(form, mode, (37, 21))[:keep] + junk
    why = image_header.refusal(body)
    if why:
        with pytest.raises(InvalidRequest, match="cannot be read as an image"):
            image_files.encoded_image(body)
    else:
        assert image_files.encoded_image(body) is body


@given(st.binary(max_size=200), st.sampled_from(["", "data:image/png;base64,"]), st.integers(1, 80))
def test_base64_comes_back_however_it_was_wrapped(body, prefix, width):
    text = base64.b64encode(body).decode()
    lines = "\r\n".join(text[start : start + width] for start in range(0, len(text), width))
    assert image_files.from_base64(prefix + lines, "'image'") == body


@given(st.sampled_from(["", "data:", "data:image/png;base64,"]), st.text(max_size=20))
def test_what_is_no_base64_is_refused_by_its_name(prefix, text):
    with pytest.raises(InvalidRequest, match=r"^'image' is not base64 of an image file"):
        image_files.from_base64(f"{prefix}{text}#", "'image'")


@given(st.binary(max_size=200))
def test_whatever_comes_nothing_else_is_raised(body):
    pixels, why = image_header.weigh(body)
    assert pixels >= 0
    assert bool(image_header.refusal(body)) >= bool(why)


def test_bytes_of_an_unknown_format_are_the_decoders_own_business():
    assert image_header.weigh(b"\x00\x00\x00\x0cjP  ") == (0, "")
    assert image_header.weigh(encode("PNG", size=(6, 7))) == (42, "")
    assert image_header.weigh(encode("PNG", size=(6, 7)), 41) == (0, "the image has 6x7 pixels; the limit is 41 pixels")
    assert image_header.weigh(b"") == (0, "an empty image file")


@pytest.mark.parametrize("form", ["PNG", "BMP"])
def test_too_many_pixels_are_refused_by_the_header_alone(form):
    body = bytearray(encode(form, size=(3, 2)))
    place, order = (16, "big") if form == "PNG" else (18, "little")
    body[place : place + 8] = (20_000).to_bytes(4, order) * 2
    with pytest.raises(InvalidRequest, match="20000x20000 pixels; the limit is 100000000"):
        image_files.encoded_image(bytes(body))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"GIF89a" + bytes(20), "JPEG, PNG"),
        (b"\xff\xd8\xff\xd9", "no frame header"),
        (b"\xff\xd8\xff", "cut off"),
        (b"\xff\xd8\xff\xe0\x00\x00" * 5000, "image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "does not begin"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8X", "cut off"),
        (b"BM" + bytes(40), "0x0 pixels"),
        (b"II*\x00" + b"\xff" * 30, "cut off"),
        (b"P6\nwide high\n", "makes no sense"),
    ],
)
def test_what_is_wrong_is_said(body, words):
    with pytest.raises(InvalidRequest, match=words):
        image_files.encoded_image(body)


@given(picture([0, 1, 3]))
def test_an_array_comes_back_from_its_pnm_file(array):
    body = image_files.pnm(array)
    assert image_header.read_header(body).format == "pnm"
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(body))), array.squeeze(2) if array.shape[2:] == (1,) else array
    )


@given(picture([0, 1, 3, 4]), st.booleans())
def test_a_picture_in_an_npy_file(array, is_batch):
    got = image_files.read_npy_image(npy_file(array[None] if is_batch and array.ndim == 3 else array))
    np.testing.assert_array_equal(
        got, array[..., :3] if array.ndim == 3 and array.shape[2] > 1 else array.reshape(array.shape[:2])
    )


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2, 3), np.float32), np.zeros((2, 2, 2), np.uint8), np.zeros(4, np.uint8)]
)
def test_other_arrays_are_no_pictures(array):
    with pytest.raises(InvalidRequest, match="uint8"):
        image_files.read_npy_image(npy_file(array))
    with pytest.raises(InvalidRequest, match="uint8"):
        image_files.pnm(array)


def test_an_array_without_pixels_is_refused():
    with pytest.raises(InvalidRequest, match="0x4 pixels"):
        image_files.pnm(np.zeros((4, 0, 3), np.uint8))


@given(picture([0, 3, 4]))
def test_a_png_holds_its_array(array):
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(image_files.png(array)))), array)


@given(hnp.arrays(np.bool_, st.tuples(SIDES, SIDES)))
def test_a_mask_is_black_and_white(mask):
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(image_files.png(mask)))), mask * 255)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2), np.float32),
        np.zeros((0, 2), np.uint8),
        np.zeros((2, 2, 2), np.uint8),
        np.zeros((2, 2, 3), bool),
    ],
)
def test_what_a_png_cannot_hold(array):
    with pytest.raises(InvalidRequest, match="PNG"):
        image_files.png(array)
