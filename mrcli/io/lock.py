"""One run at a time per output folder.

The lock belongs to the process and the operating system frees it when the process ends, however
it ends; the file that stays behind blocks nobody.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mrcli.errors import LockedError, OutputError


@contextmanager
def output_lock(out_dir: Path, part: str = "") -> Iterator[None]:
    """Own the folder, or one `part` of the work in it, while the block runs.

    A part is ``K-of-N``: parts of the same N do not exclude each other, all else does. Raises
    `LockedError` where another run is in the way, `OutputError` where no lock can be taken.
    """
    lock = _lock(out_dir, part)
    with _errors_named(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        # own first, then look: of two that start at once, one at least sees the other
        for other in _rivals(out_dir, part):
            with _errors_named(out_dir), FileLock(other, timeout=0):
                pass
        yield
    finally:
        lock.release()


def _lock(out_dir: Path, part: str) -> FileLock:
    return FileLock(out_dir / (f".mrcli-{part}.lock" if part else ".mrcli.lock"), timeout=0)


def _rivals(out_dir: Path, part: str) -> list[Path]:
    """Return the locks that must be free: of the whole, and of parts of another division."""
    parts = out_dir.glob(".mrcli-*-of-*.lock")
    if not part:
        return list(parts)
    division = part.rpartition("-")[2]
    others = [path for path in parts if path.stem.rpartition("-")[2] != division]
    whole = out_dir / ".mrcli.lock"
    return [*others, whole] if whole.exists() else others


@contextmanager
def _errors_named(out_dir: Path) -> Iterator[None]:
    try:
        yield
    except Timeout as error:
        raise LockedError(
            f"{out_dir.name}: another run writes to this folder",
            hint="wait until it has finished, or choose another folder",
        ) from error
    except (OSError, NotImplementedError) as error:
        reason = (getattr(error, "strerror", None) or type(error).__name__).lower()
        raise OutputError(
            f"{out_dir.name}: cannot be locked: {reason}",
            hint="choose a folder that is writable, on a disk that supports locks",
        ) from error
