import shutil

from server.archive.staging import stage_folder
from tests.unit.archive.writing import chain


def never(directory, config):
    raise AssertionError(f"{config.name} is complete already")


def stage(root, steps_dir, placed):
    return stage_folder(root, "name", "v1", steps_dir, never, link=True, placed=placed)


def test_steps_that_lie_elsewhere_are_used_where_they_lie(tmp_path):
    root = chain(tmp_path / "a")
    first = stage(root, tmp_path / "cache", lambda _: None)

    second = stage(root, tmp_path / "workspace", lambda digest: tmp_path / "cache" / digest)

    assert second == first
    assert not (tmp_path / "workspace").exists()


def test_files_of_placed_steps_are_not_touched_so_that_their_digests_stay_known(tmp_path):
    root = chain(tmp_path / "a")
    stage(root, tmp_path / "cache", lambda _: None)
    before = (root / "one" / "1" / "model.onnx").stat()

    stage(root, tmp_path / "workspace", lambda digest: tmp_path / "cache" / digest)
    shutil.rmtree(tmp_path / "workspace", ignore_errors=True)

    after = (root / "one" / "1" / "model.onnx").stat()
    assert (after.st_nlink, after.st_ctime_ns) == (before.st_nlink, before.st_ctime_ns)


def test_a_damaged_step_elsewhere_is_placed_anew(tmp_path):
    root = chain(tmp_path / "a")
    first = stage(root, tmp_path / "cache", lambda _: None)
    (first.steps[0].directory / ".staged.json").unlink()

    second = stage(root, tmp_path / "workspace", lambda digest: tmp_path / "cache" / digest)

    assert second.steps[0].directory == tmp_path / "workspace" / first.steps[0].digest
    assert (second.steps[0].directory / "1" / "model.onnx").read_bytes() == b"first"
