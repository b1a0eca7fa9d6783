"""Whatever the bytes are: unpacking ends in success or InvalidArchive, and writes nothing outside its folder."""

import gzip
import io
import tarfile
import tempfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import assume, given
from hypothesis import strategies as st

from server.archive.unpack import UnpackLimits, unpack
from server.domain.errors import InvalidArchive
from tests.unit.archive.writing import contents, tar_bytes

COMPRESSIONS = {"tar": bytes, "gzip": gzip.compress, "zstd": zstandard.ZstdCompressor(write_checksum=True).compress}
GOOD = tar_bytes(("model/config.pbtxt", b'backend: "python"'), ("model/1/model.py", bytes(range(256)) * 8))
LIMITS = UnpackLimits(total_bytes=1 << 20, members=100)

PIECES = st.sampled_from(
    ["..", ".", "", "a", "b", "/", "//", "\\", "C:", "~", "link", "etc", "passwd", "\n", "x" * 130, "..."]
)
HOSTILE_NAMES = st.lists(PIECES, min_size=1, max_size=6).map("/".join)
KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, b"3", b"6"]
)


@st.composite
def hostile_members(draw):
    member = tarfile.TarInfo(draw(HOSTILE_NAMES))
    member.type = draw(KINDS)
    member.linkname = draw(HOSTILE_NAMES)
    member.mode = draw(st.integers(0, 0o7777))
    member.size = draw(st.integers(0, 600)) if member.isreg() else 0
    return member


def attempt(data: bytes) -> bool:
    """Unpack; whether it succeeded. Whatever happens, nothing may appear beside the folder, and no link in it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "deep" / "er"
        into = root / "into"
        into.mkdir(parents=True)
        (root / "beside").write_text("untouched")
        try:
            unpack(io.BytesIO(data), into, LIMITS)
            is_good = True
        except InvalidArchive:
            is_good = False
            assert contents(into) == {}
        assert {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if into not in path.parents} == {
            "deep", "deep/er", "deep/er/into", "deep/er/beside",
        }  # fmt: skip
        assert (root / "beside").read_text() == "untouched"
        assert not any(path.is_symlink() or path.stat().st_nlink > 1 for path in into.rglob("*") if not path.is_dir())
        return is_good


@given(
    st.lists(hostile_members(), min_size=1, max_size=6),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_hostile_members_never_escape(members, form):
    try:
        data = tar_bytes(*members, form=form)
    except ValueError:  # ustar has no room for some long names
        assume(False)  # noqa: FBT003 - hypothesis' own signature
    is_good = attempt(data)
    if any(member.issym() or member.islnk() or ".." in member.name.split("/") for member in members):
        assert not is_good


@given(st.binary(max_size=4000))
def test_random_bytes_are_refused(data):
    assume(not data.startswith(bytes(512)))  # an empty tar is zeros
    assert not attempt(data)


@given(st.sampled_from(["\x1f\x8b\x08\x00", "\x28\xb5\x2f\xfd"]), st.binary(max_size=2000))
def test_random_bytes_after_a_magic_are_refused(magic, data):
    assert not attempt(magic.encode("latin-1") + data)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_truncation_is_refused(compression):
    data = COMPRESSIONS[compression](GOOD)
    content = len(GOOD.rstrip(b"\0")) // 512 * 512 + 511  # a plain tar may lack its padding, not its end
    # A zstd frame's last four bytes are a checksum that its reader misses only after all content was there.
    cuts = {"tar": content, "gzip": len(data) - 1, "zstd": len(data) - 5}[compression]
    step = max(1, cuts // 60)
    assert [cut for cut in [*range(0, cuts, step), cuts] if attempt(data[:cut])] == []
    assert attempt(data)


@given(st.sampled_from(sorted(COMPRESSIONS)), st.data())
def test_flipped_bytes_end_in_success_or_refusal(compression, draw):
    data = bytearray(COMPRESSIONS[compression](GOOD))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    assert attempt(bytes(data)) in {True, False}


@given(st.binary(min_size=512, max_size=512))
def test_any_header_with_a_right_checksum_ends_in_success_or_refusal(block):
    header = bytearray(block)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    assert attempt(bytes(header) + bytes(2048)) in {True, False}


@given(st.binary(max_size=512), st.sampled_from([b"x", b"g", b"L"]))
def test_any_extra_header_ends_in_success_or_refusal(payload, kind):
    extra = tarfile.TarInfo("extra")
    extra.type, extra.size = kind, len(payload)
    padding = bytes(-len(payload) % 512)
    assert attempt(extra.tobuf() + payload + padding + tar_bytes(("a", b"x"))) in {True, False}
