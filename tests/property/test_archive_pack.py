"""Packing is deterministic, and unpacking gives back what was packed."""

import io
import tarfile
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from server.archive.model_folder import is_ignored
from server.archive.pack import SUFFIXES, pack
from server.archive.unpack import unpack
from tests.unit.archive.writing import contents, write_files

NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="/\\:"), min_size=1, max_size=20
)
PARTS = NAMES.filter(lambda name: not is_ignored(name) and len(name.encode()) < 200)


@st.composite
def file_trees(draw):
    """{path: content} in which no file is also a folder."""
    paths = draw(st.lists(st.lists(PARTS, min_size=1, max_size=4).map("/".join), max_size=8, unique=True))
    files = {}
    for path in paths:
        if not any(other.startswith(f"{path}/") or path.startswith(f"{other}/") for other in files):
            files[path] = draw(st.binary(max_size=1500))
    return files


@given(file_trees(), st.sampled_from(SUFFIXES), st.randoms(use_true_random=False))
def test_round_trip_and_determinism(files, suffix, random):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shuffled = dict(random.sample(list(files.items()), len(files)))
        for name, order in (("one", files), ("other", shuffled)):
            (root / name).mkdir()
            pack(write_files(root / name, order), root / f"{name}{suffix}")
        assert (root / f"one{suffix}").read_bytes() == (root / f"other{suffix}").read_bytes()
        with (root / f"one{suffix}").open("rb") as file:
            unpack(file, root / "into")
        assert contents(root / "into") == contents(root / "one")


@given(file_trees(), st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_our_reader_agrees_with_the_standard_librarys_writer(files, form):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, encoding="utf-8") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            try:
                tar.addfile(member, io.BytesIO(content))
            except ValueError:  # ustar has no room for some long names
                return
    with tempfile.TemporaryDirectory() as folder:
        unpack(io.BytesIO(buffer.getvalue()), Path(folder))
        assert {name: data for name, data in contents(Path(folder)).items() if data is not None} == files
