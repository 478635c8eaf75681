"""A folder for files in the making: they take their names when all are whole, or not at all."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mrcli.errors import OutputError

_STAGE_PREFIX = ".mrcli-stage-"


@contextmanager
def staging_folder(out_dir: Path) -> Iterator[Path]:
    """Yield an empty folder below `out_dir` that is removed at the end, whatever happens.

    Raises `OutputError` for every error of the operating system.
    """
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_STAGE_PREFIX, dir=out_dir) as stage:
            yield Path(stage)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(
            f"{out_dir.name}: cannot be written: {reason}",
            hint="choose a folder that is writable and has space",
        ) from error


def publish(stage: Path, out_dir: Path, names: Sequence[str]) -> None:
    """Move files of the stage to the same names below `out_dir`, in this order.

    What is in the way is replaced. Whatever is raised, an interrupt too, removes those that were
    moved: files that belong together are there together.
    """
    moved: list[str] = []
    try:
        for name in names:
            (out_dir / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / name).replace(out_dir / name)
            moved.append(name)
    except BaseException:
        remove_files(out_dir, moved)
        raise


def remove_files(out_dir: Path, names: Sequence[str]) -> None:
    """Remove files that could not be recorded as finished."""
    for name in names:
        (out_dir / name).unlink(missing_ok=True)


def remove_leftovers(out_dir: Path) -> None:
    """Remove what killed runs left half-written; call it under the lock of the whole folder."""
    for path in out_dir.glob(f"{_STAGE_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)
