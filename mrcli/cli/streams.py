"""The standard streams, which may be closed, full, or read by nobody."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from mrcli.errors import OutputError


def open_missing_streams() -> None:
    """Give a process that was started with closed streams ones that lead nowhere."""
    for name, flags in (("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            mode = "r" if flags == os.O_RDONLY else "w"
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode, encoding="utf-8"))


@contextmanager
def stdout_errors_named() -> Iterator[None]:
    """Turn a standard output that takes nothing more into `OutputError`; a lost reader passes."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard(sys.stdout)
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(
            f"standard output: cannot be written: {reason}",
            hint="send the output to a place that is writable and has space",
        ) from error


def write_line_to_stderr(line: str) -> None:
    """Write a line; where standard error takes nothing more, nobody can be told."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def flush_or_discard(stream: TextIO) -> None:
    """Empty a stream for good: what it cannot get rid of would change the exit code."""
    try:
        stream.flush()
    except OSError:
        discard(stream)


def discard(stream: TextIO) -> None:
    """Lead a stream nowhere: what it still holds would fail again when the process ends."""
    with suppress(OSError):  # a stream in memory has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
