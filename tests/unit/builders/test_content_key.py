"""Equal content, equal key; anything else, another key."""

from builders.pipeline.content_key import content_key


def key_of(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return content_key(folder)


def test_the_key_follows_names_and_content(tmp_path):
    first = key_of(tmp_path / "a", graph="x", weights="y")
    assert first == key_of(tmp_path / "b", weights="y", graph="x")
    others = [key_of(tmp_path / "c", graph="x"), key_of(tmp_path / "d", graph="x", weights="z")]
    others += [key_of(tmp_path / "e", graph="y", weights="x"), key_of(tmp_path / "f", graph="x", wights="y")]
    assert len({first, *others}) == 5
    assert len(first) == 16
