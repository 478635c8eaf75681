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

    Raises `LockedError` where another run owns it, `OutputError` where no lock can be taken.
    """
    name = f".mrcli-{part}.lock" if part else ".mrcli.lock"
    lock = FileLock(out_dir / name, timeout=0)
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire()
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
    try:
        yield
    finally:
        lock.release()
