import gzip
import io
import tarfile

import pytest
import zstandard

from server.archive.unpack import UnpackLimits, unpack
from server.domain.errors import DiskFull, InvalidArchive
from tests.unit.archive.writing import contents, limited_file_size, tar_bytes

FILES = (("model/config.pbtxt", b"config"), ("model/1/model.onnx", b"weights" * 1000))
EXPECTED = {
    "model": None,
    "model/1": None,
    "model/1/model.onnx": b"weights" * 1000,
    "model/config.pbtxt": b"config",
}
COMPRESSIONS = {
    "tar": bytes,
    "gzip": gzip.compress,
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    "gzip in members": lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
    "zstd in frames": lambda data: zstandard.compress(data[:700]) + zstandard.compress(data[700:]),
}


def unpacked(data, into, **limits):
    unpack(io.BytesIO(data), into, UnpackLimits(**limits))
    return contents(into)


def special(name, kind, link="", size=0):
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member


def header(name="model", size=None, kind=b"0"):
    """One raw header with any size field."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[156:157] = kind
    if size is not None:
        block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compression_is_told_by_the_first_bytes(tmp_path, compression):
    assert unpacked(COMPRESSIONS[compression](tar_bytes(*FILES)), tmp_path) == EXPECTED


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_tar_dialects_are_read(tmp_path, form):
    name = "/".join(["folder" * 8] * 4) + "/größe.onnx"
    assert unpacked(tar_bytes((name, b"x"), form=form), tmp_path)[name] == b"x"


def test_files_are_read_only_and_not_executable(tmp_path):
    member = tarfile.TarInfo("run.sh")
    member.mode = 0o6777
    unpacked(tar_bytes(member), tmp_path)
    assert (tmp_path / "run.sh").stat().st_mode & 0o7777 == 0o444


def test_the_packed_folder_itself_and_folders_named_twice_are_fine(tmp_path):
    folders = [special(name, tarfile.DIRTYPE) for name in ("./", "./a", "a/", "a")]
    assert unpacked(tar_bytes(*folders, ("./a/b", b"x")), tmp_path) == {"a": None, "a/b": b"x"}


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd", "../x", "a/../../x", "a/..", "..", "C:/x", "c:x", "a\\..\\x", "a\nb", "//x", ".", "a/./../b",
        "x" * 256, "a/" * 33 + "x", "/".join(["abcdefgh"] * 120),
    ],
)  # fmt: skip
def test_a_hostile_name_is_refused(tmp_path, name):
    into = tmp_path / "into"
    with pytest.raises(InvalidArchive):
        unpacked(tar_bytes(("good", b"x"), (name, b"evil")), into)
    assert contents(tmp_path) == {"into": None}


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/..", "..", "a/./../b"])
def test_a_name_that_climbs_is_refused_before_the_file_system_is_asked(tmp_path, name):
    with pytest.raises(InvalidArchive, match="points outside"):
        unpacked(tar_bytes((name, b"evil")), tmp_path)


def test_a_header_whose_checksum_is_wrong_is_refused(tmp_path):
    data = bytearray(tar_bytes(("good", b"x")))
    data[0] ^= 1
    with pytest.raises(InvalidArchive, match="checksum"):
        unpacked(bytes(data), tmp_path)


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (special("a", tarfile.SYMTYPE, "/etc/passwd"), "symbolic link"),
        (special("a", tarfile.SYMTYPE, "inside"), "symbolic link"),
        (special("a", tarfile.LNKTYPE, "good"), "hard link"),
        (special("a", tarfile.CHRTYPE), "device"),
        (special("a", tarfile.BLKTYPE), "device"),
        (special("a", tarfile.FIFOTYPE), "pipe"),
        (special("a", b"S"), "sparse"),
        (special("a", b"Z"), "unknown tar type"),
        (special("a", tarfile.DIRTYPE, size=3), "claims to have content"),
        (special("good", tarfile.REGTYPE), "twice"),
        (special("good/inside", tarfile.REGTYPE), "a file already"),
        (special("good", tarfile.DIRTYPE), "a file already"),
    ],
)
def test_what_is_neither_file_nor_folder_or_replaces_one_is_refused(tmp_path, member, words):
    with pytest.raises(InvalidArchive, match=words):
        unpacked(tar_bytes(("good", b"x"), member), tmp_path)
    assert contents(tmp_path) == {}


def test_a_file_may_not_replace_a_folder(tmp_path):
    with pytest.raises(InvalidArchive, match="twice"):
        unpacked(tar_bytes(("a/b", b"x"), ("a", b"y")), tmp_path)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (b"\x80" + b"\x7f" * 11, "more than"),
        (b"77777777777\0", "cut off|more than"),
        (b"\xff" * 12, "not a number"),
        (b"-0000000001\0", "not a number"),
        (b"12 34      \0", "not a number"),
    ],
)
def test_a_giant_or_senseless_size_is_not_believed(tmp_path, size, words):
    with pytest.raises(InvalidArchive, match=words):
        unpacked(header(size=size) + bytes(1024), tmp_path, total_bytes=1 << 40)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_giant_extra_header_is_not_read_into_memory(tmp_path, kind):
    with pytest.raises(InvalidArchive, match="header of"):
        unpacked(header(size=b"77777777777\0", kind=kind) + bytes(4096), tmp_path)


@pytest.mark.parametrize(
    "record",
    [b"99 path=a\n", b"x path=a\n", b"9 path=aa", b"0 path=a\n", b"11 size=-1\n", b"12 size=1e9\n", b"7 pathx\n"],
)
def test_a_pax_record_that_does_not_parse_is_refused(tmp_path, record):
    data = header(size=b"%011o\0" % len(record), kind=b"x") + record.ljust(512, b"\0") + header() + bytes(1024)
    with pytest.raises(InvalidArchive):
        unpacked(data, tmp_path)


def test_a_pax_size_is_held_against_the_limit(tmp_path):
    record = b"21 size=999999999999\n"
    data = header(size=b"%011o\0" % len(record), kind=b"x") + record.ljust(512, b"\0") + header() + bytes(1024)
    with pytest.raises(InvalidArchive, match="more than"):
        unpacked(data, tmp_path, total_bytes=1 << 30)


def test_a_pax_sparse_file_is_refused(tmp_path):
    record = b"22 GNU.sparse.major=1\n"
    data = header(size=b"%011o\0" % len(record), kind=b"x") + record.ljust(512, b"\0") + header() + bytes(1024)
    with pytest.raises(InvalidArchive, match="sparse"):
        unpacked(data, tmp_path)


@pytest.mark.parametrize("limit", [{"total_bytes": 5000}, {"members": 3}])
def test_an_archive_over_a_limit_is_refused(tmp_path, limit):
    with pytest.raises(InvalidArchive, match="more than"):
        unpacked(gzip.compress(tar_bytes(*FILES)), tmp_path, **limit)
    assert contents(tmp_path) == {}


def test_folders_that_are_made_on_the_way_count_as_members(tmp_path):
    assert len(unpacked(tar_bytes(*FILES), tmp_path / "a", members=4)) == 4
    with pytest.raises(InvalidArchive, match="more than 3"):
        unpacked(tar_bytes(*FILES), tmp_path / "b", members=3)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_bomb_is_refused(tmp_path, compression):
    data = COMPRESSIONS[compression](tar_bytes(("zeros", bytes(3 << 20))))
    with pytest.raises(InvalidArchive, match="times its size"):
        unpacked(data, tmp_path, ratio=100, ratio_free_bytes=1 << 20)
    assert contents(tmp_path) == {}


def test_a_small_archive_of_zeros_is_no_bomb(tmp_path):
    assert unpacked(gzip.compress(tar_bytes(("zeros", bytes(1 << 20)))), tmp_path)["zeros"] == bytes(1 << 20)


def test_an_endless_tail_is_a_bomb_too(tmp_path):
    data = gzip.compress(tar_bytes(("a", b"x")) + bytes(4 << 20))
    with pytest.raises(InvalidArchive, match="more than"):
        unpacked(data, tmp_path, total_bytes=1 << 20)


@pytest.mark.parametrize(
    "data", [b"", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04" * 200, b"\x1f\x8b" + b"\x00" * 90]
)
def test_what_is_no_archive_is_refused(tmp_path, data):
    with pytest.raises(InvalidArchive):
        unpacked(data, tmp_path)


def test_two_archives_in_one_file_are_refused(tmp_path):
    with pytest.raises(InvalidArchive, match="goes on after its end"):
        unpacked(tar_bytes(("a", b"x")) * 2, tmp_path)


def test_a_tar_without_its_end_is_cut_off(tmp_path):
    data = tar_bytes(("a", b"x"))
    with pytest.raises(InvalidArchive, match="cut off"):
        unpacked(data[:1024], tmp_path)


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    with pytest.raises(InvalidArchive, match="UTF-8"):
        unpacked(tar_bytes(("mod\udcff", b"x"), form=tarfile.GNU_FORMAT), tmp_path)


def test_no_room_is_told_apart_from_a_bad_archive(tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    with pytest.raises(DiskFull), limited_file_size(1000):
        unpacked(tar_bytes(*FILES), full)
    assert contents(full) == {}
