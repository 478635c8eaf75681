"""A file is complete or absent, whatever happens while it is written."""

import errno
import os

import pytest

from mrcli.errors import OutputError
from mrcli.io import atomic
from mrcli.io.atomic import atomic_path, write_bytes_atomically, write_text_atomically


def test_a_written_file_is_the_only_one_left(tmp_path):
    write_text_atomically(tmp_path / "new" / "a.txt", "höhe\r\n", overwrite=False)
    assert (tmp_path / "new" / "a.txt").read_bytes() == "höhe\r\n".encode()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, ValueError, MemoryError])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    final = tmp_path / "a.bin"
    final.write_bytes(b"old")

    def write_half():
        with atomic_path(final, overwrite=True) as temporary:
            temporary.write_bytes(b"half")
            raise failure

    with pytest.raises(failure):
        write_half()
    assert final.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [final]


def test_an_existing_file_is_replaced_only_on_request(tmp_path):
    final = tmp_path / "a.bin"
    write_bytes_atomically(final, b"old", overwrite=False)
    with pytest.raises(OutputError, match=r"^a\.bin: exists already$") as caught:
        write_bytes_atomically(final, b"new", overwrite=False)
    assert final.read_bytes() == b"old"
    assert "overwriting" in caught.value.hint
    write_bytes_atomically(final, b"new", overwrite=True)
    assert final.read_bytes() == b"new"


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    final = tmp_path / "a.bin"

    def write_while_another_does():
        with atomic_path(final, overwrite=False) as temporary:
            temporary.write_bytes(b"ours")
            final.write_bytes(b"theirs")

    with pytest.raises(OutputError, match="exists already"):
        write_while_another_does()
    assert final.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [final]


def test_a_dangling_link_counts_as_existing(tmp_path):
    link = tmp_path / "a.bin"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="exists already"):
        write_bytes_atomically(link, b"new", overwrite=False)


@pytest.mark.parametrize("call", ["fsync", "open"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_an_error_of_the_system_is_named_and_leaves_nothing(tmp_path, monkeypatch, call, code):
    def fail(*_args, **_options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.os, call, fail)
    with pytest.raises(OutputError, match=f"a.bin: cannot be written: {os.strerror(code).lower()}"):
        write_bytes_atomically(tmp_path / "a.bin", b"new", overwrite=False)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_may_be_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        write_bytes_atomically(tmp_path / "file" / "a.bin", b"new", overwrite=False)


def test_the_content_is_flushed_before_it_gets_its_name(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(atomic.os, "fsync", lambda _: flushed.append((tmp_path / "a").exists()))
    write_bytes_atomically(tmp_path / "a", b"new", overwrite=False)
    assert flushed == [False, True]  # the file before the rename, the folder after it


def test_permissions_are_those_of_any_new_file(tmp_path):
    write_bytes_atomically(tmp_path / "ours", b"", overwrite=False)
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_name_as_long_as_names_can_be(tmp_path):
    final = tmp_path / ("a" * 255)
    write_bytes_atomically(final, b"new", overwrite=False)
    assert final.read_bytes() == b"new"
