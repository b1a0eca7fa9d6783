"""Which archives a tree of files contains."""

from server.store.listing import archive_names


def test_tar_files_and_model_folders_are_archives():
    paths = [
        "a.tar.gz",
        "team/b.tar.zst",
        "minilm/encoder/config.pbtxt",
        "minilm/encoder/1/model.onnx",
        "minilm/tokenizer/config.pbtxt",
        "single/config.pbtxt",
        "notes.txt",
        "data/readme.md",
    ]
    assert archive_names(paths) == ["a.tar.gz", "minilm", "single", "team/b.tar.zst"]


def test_what_lies_inside_an_archive_is_not_an_archive():
    paths = ["m/encoder/config.pbtxt", "m/encoder/1/weights.tar", "m/encoder/1/nested/config.pbtxt"]
    assert archive_names(paths) == ["m"]


def test_a_manifest_says_where_the_archive_begins():
    paths = ["team/minilm/roundhouse.json", "team/minilm/encoder/config.pbtxt"]
    assert archive_names(paths) == ["team/minilm"]


def test_hidden_files_are_not_archives():
    assert archive_names([".cache/x.tar.gz", "a/.tmp.tar.gz", ".git/config.pbtxt"]) == []
