"""Files of models, read once, with limits; what is checked afterwards is the bytes in memory."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from mrcli.errors import ModelError

_NOT_FOLLOWED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def read_within(root: Path, name: str, limit: int) -> bytes:
    """Return the content of the regular file `name`, with forward slashes, below `root`.

    Raises `ModelError` where it is absent, larger than `limit` bytes, or lies elsewhere.
    """
    try:
        place = (root / name).resolve()
        if not place.is_relative_to(root.resolve()):
            raise ModelError(f"{name}: leads out of the folder", hint="copy the file itself")
        return _read(place, name, limit)
    except FileNotFoundError as error:
        raise ModelError(f"{name}: no such file in {root.name}") from error
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name; links in a circle
        raise ModelError(f"{name}: cannot be read in {root.name}") from error


def _read(place: Path, name: str, limit: int) -> bytes:
    descriptor = os.open(place, os.O_RDONLY | _NOT_FOLLOWED | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ModelError(f"{name}: not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ModelError(f"{name}: larger than {limit} bytes, which is the most that is read")
    return content


def files_below(root: Path, prefix: str = "") -> tuple[str, ...]:
    """Return the names of all visible files below a folder that begin with a folder's `prefix`.

    Names have forward slashes and are sorted; links are named, not followed.

    Raises `ModelError` where a folder cannot be read.
    """
    return tuple(sorted(_walk(root, prefix)))


def _walk(root: Path, prefix: str) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(root / prefix), key=lambda entry: entry.name)
    except OSError as error:
        raise ModelError(f"{root.name}/{prefix}: cannot be read") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}"
