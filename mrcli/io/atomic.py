"""Files that are complete or absent: written beside the final name, then renamed."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mrcli.errors import OutputError

# some network file systems cannot flush a folder, and need not
_CANNOT_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
_MIB = 2**20


@contextmanager
def atomic_path(final: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a new empty file beside `final`, which takes its name when the block succeeds.

    Whatever is raised in the block, interrupts included, removes the temporary file and leaves
    `final` as it was. Raises `OutputError` where `final` exists and is not to be replaced, and
    for every error of the operating system.
    """
    with _os_errors_named(final):
        _require_free(final, overwrite=overwrite)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = _new_file_beside(final)
        try:
            yield temporary
            _flush(temporary)
            _require_free(final, overwrite=overwrite)
            temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)
        _flush_folder(final.parent)


def write_bytes_atomically(final: Path, content: bytes, *, overwrite: bool) -> None:
    """Write a file in one step; raises `OutputError`."""
    with atomic_path(final, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)


def write_text_atomically(final: Path, content: str, *, overwrite: bool) -> None:
    """Write a UTF-8 text file in one step, line ends as they are; raises `OutputError`."""
    write_bytes_atomically(final, content.encode("utf-8"), overwrite=overwrite)


def require_space(path: Path, n_bytes: int) -> None:
    """Raise `OutputError` where the file system that `path` is to lie on has less than `n_bytes`.

    Before anything is written: the space of a file that is to be replaced counts as taken, since
    the new file stands beside it. What others write meanwhile is not foreseen.
    """
    with _os_errors_named(path):
        folder = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
        free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise OutputError(
            f"{path.name}: needs {n_bytes / _MIB:.1f} MiB, {free / _MIB:.1f} MiB are free",
            hint="make space, or choose a folder on another disk",
        )


@contextmanager
def _os_errors_named(final: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(
            f"{final.name}: cannot be written: {reason}",
            hint="choose a folder that is writable and has space",
        ) from error


def _require_free(final: Path, *, overwrite: bool) -> None:
    if not overwrite and os.path.lexists(final):
        raise OutputError(
            f"{final.name}: exists already", hint="ask for overwriting, or choose another folder"
        )


def _new_file_beside(final: Path) -> Path:
    # a short name of its own: the final one may be as long as names can be
    temporary = final.parent / f".mrcli-{secrets.token_hex(8)}.partial"
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return temporary


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows flushes names by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise
    finally:
        os.close(descriptor)
