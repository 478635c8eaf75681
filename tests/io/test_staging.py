"""Files that belong together: all of them appear, or none does."""

import pytest

from mrcli.errors import OutputError
from mrcli.io.staging import publish, remove_leftovers, staging_folder

NAMES = ("a/first.txt", "b/second.txt")


def fill(stage, content="new"):
    for name in NAMES:
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).write_text(content)


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_files_take_their_names_and_the_stage_is_gone(tmp_path):
    with staging_folder(tmp_path) as stage:
        fill(stage)
        publish(stage, tmp_path, NAMES)
    assert contents(tmp_path) == dict.fromkeys(NAMES, "new")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_what_is_in_the_way_is_replaced(tmp_path):
    fill(tmp_path, "old")
    with staging_folder(tmp_path) as stage:
        fill(stage)
        publish(stage, tmp_path, NAMES)
    assert contents(tmp_path) == dict.fromkeys(NAMES, "new")


def test_an_interrupt_leaves_nothing(tmp_path):
    def interrupted():
        with staging_folder(tmp_path) as stage:
            fill(stage)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_moved_takes_back_those_before_it(tmp_path):
    (tmp_path / NAMES[1]).mkdir(parents=True)  # a folder is in the way of the second file
    (tmp_path / NAMES[1] / "kept.txt").write_text("kept")

    def move():
        with staging_folder(tmp_path) as stage:
            fill(stage)
            publish(stage, tmp_path, NAMES)

    with pytest.raises(OutputError, match="cannot be written"):
        move()
    assert contents(tmp_path) == {f"{NAMES[1]}/kept.txt": "kept"}


def test_an_error_of_the_system_says_which_folder(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(OutputError, match="file: cannot be written"),
        staging_folder(tmp_path / "file"),
    ):
        pass


def test_leftovers_of_killed_runs_are_removed_and_nothing_else(tmp_path):
    (tmp_path / ".mrcli-stage-abc").mkdir()
    (tmp_path / ".mrcli-stage-abc" / "half.mat").write_text("half")
    fill(tmp_path)
    remove_leftovers(tmp_path)
    assert contents(tmp_path) == dict.fromkeys(NAMES, "new")
