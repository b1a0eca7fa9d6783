"""A step's digest counts what reaches the model, all of it and nothing else."""

import tempfile
from pathlib import Path

from hypothesis import assume, given
from hypothesis import strategies as st

from server.archive.digest import step_digest
from server.archive.layout import read_layout
from server.archive.model_config import canonical_text, parse, render
from tests.unit.archive.writing import chain, contents, onnx_step, repository, step_config, write_files

NAMES = st.text("abcdefgh_", min_size=1, max_size=6)
FILES = st.dictionaries(
    st.sampled_from(["1/a", "1/b", "1/d/a", "labels.txt", "1/ab"]), st.binary(max_size=40), max_size=4
)
NOISE = st.sampled_from(
    [
        {},
        {"m/.hidden": "x"},
        {"m/1/__pycache__/a.pyc": "x"},
        {".git/config": "x"},
        {"readme.txt": "x"},
        {"m/1/x.pyc": ""},
    ]
)


def digests(root):
    known = {}
    for model in read_layout(root).models:
        known[model.name] = step_digest(model, known)
    return known


def digest_of(files, noise, name="m"):
    with tempfile.TemporaryDirectory() as folder:
        root = repository(Path(folder), **{name: onnx_step() | files})
        write_files(root, noise)
        return digests(root)[name]


@given(FILES, FILES, NOISE, NOISE)
def test_equal_digests_mean_equal_files(one, other, noise, other_noise):
    is_same = digest_of(one, noise) == digest_of(other, other_noise)
    assert is_same == (one == other)


@given(FILES, NAMES, NAMES)
def test_the_models_name_does_not_count(files, one, other):
    assert digest_of(files, {}, one) == digest_of(files, {}, other)


@given(st.binary(max_size=9), st.binary(max_size=9), st.binary(max_size=9), st.binary(max_size=9))
def test_an_ensemble_follows_its_callees(first, second, other_first, other_second):
    with tempfile.TemporaryDirectory() as folder:
        one = digests(chain(Path(folder) / "a", first, second))
        other = digests(chain(Path(folder) / "b", other_first, other_second))
    assert (one["whole"] == other["whole"]) == ((first, second) == (other_first, other_second))
    assert (one["one"] == one["two"]) == (first == second)


@given(st.permutations(["one", "two", "whole"]), st.permutations(["one", "two", "whole"]))
def test_renaming_callees_changes_only_the_ensemble(names, other_names):
    assume(tuple(names[:2]) != tuple(other_names[:2]))
    with tempfile.TemporaryDirectory() as folder:
        one = digests(chain(Path(folder) / "a", names=names))
        other = digests(chain(Path(folder) / "b", names=other_names))
    assert [one[name] for name in names[:2]] == [other[name] for name in other_names[:2]]
    assert one[names[2]] != other[other_names[2]]


@given(
    st.integers(0, 64),
    st.lists(st.integers(-1, 9).filter(bool), min_size=1, max_size=3),
    st.dictionaries(NAMES, st.text(max_size=8), max_size=4),
)
def test_the_canonical_text_survives_rendering_and_has_no_name(batch, dims, parameters):
    config = parse(step_config(batch=batch, dims=", ".join(map(str, dims)), more='name: "secret_name"'))
    for key, value in parameters.items():
        config.parameters[key].string_value = value
    again = parse(render(config))
    assert again == config
    assert canonical_text(again) == canonical_text(config)
    assert "secret_name" not in canonical_text(config)


def test_the_repository_is_only_read(tmp_path):
    root = chain(tmp_path / "a")
    before = contents(root)
    digests(root)
    assert contents(root) == before
