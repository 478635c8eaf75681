"""The image formats: what can be written, by name, and what can be read, by content."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from mrcli.errors import DataError, InputError, UnknownFormat
from mrcli.image import ReconVolume
from mrcli.io.files import HDF5_SIGNATURE, NPY_SIGNATURE, head_bytes
from mrcli.io.h5_image import read_h5, write_h5
from mrcli.io.nifti import GZIP_MAGIC, read_nifti, write_nifti


@runtime_checkable
class WriteImage(Protocol):
    """Writes one volume; complete or not at all."""

    def __call__(self, path: Path, volume: ReconVolume, *, overwrite: bool) -> None:
        """Write `volume` to `path`; raises `NotFinite`, `OutputError`."""


@dataclass(frozen=True)
class Writer:
    """A format that images can be written in."""

    name: str
    suffix: str
    write: WriteImage


WRITERS = (Writer("nifti", ".nii.gz", write_nifti), Writer("h5", ".h5", write_h5))

_NIFTI_MAGICS = tuple(n.to_bytes(4, order) for n in (348, 540) for order in ("little", "big"))


def writers_named(names: Sequence[str]) -> tuple[Writer, ...]:
    """Return the writers in the order of the names, each once; raises `InputError`."""
    known = {writer.name: writer for writer in WRITERS}
    for name in names:
        if name not in known:
            raise InputError(
                f"no image format is called {name!r}", hint=f"known are {', '.join(known)}"
            )
    return tuple(known[name] for name in dict.fromkeys(names))


def read_image(path: Path) -> ReconVolume:
    """Read an image of any known format, told by its first bytes; raises `DataError`."""
    head = head_bytes(path, 8)
    for magics, read in _READERS:
        if head.startswith(magics):
            return read(path)
    raise UnknownFormat(
        f"{path.name}: not an image in a known format", hint="known are NIfTI, HDF5 and npy"
    )


def read_npy(path: Path) -> ReconVolume:
    """Read an array with trailing axes ``y, x``, before them `slice`, before it `frame`."""
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path.name}: an npy file that is damaged, cut off or pickled") from error
    if stored.dtype.kind not in "iufc" or not 2 <= stored.ndim <= 4:
        raise DataError(
            f"{path.name}: {stored.ndim} axes of {stored.dtype}, needed are 2 to 4, numeric"
        )
    data = np.array(stored, np.complex64 if stored.dtype.kind == "c" else np.float32)
    return ReconVolume(data.reshape(*(1,) * (4 - data.ndim), *data.shape))


_READERS: tuple[tuple[tuple[bytes, ...], Callable[[Path], ReconVolume]], ...] = (
    ((HDF5_SIGNATURE,), read_h5),
    ((NPY_SIGNATURE,), read_npy),
    ((GZIP_MAGIC, *_NIFTI_MAGICS), read_nifti),
)
