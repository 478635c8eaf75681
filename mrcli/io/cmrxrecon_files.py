"""Writes k-space and masks as CMRxRecon does: MAT files of version 7.3, which are HDF5.

HDF5 lists MATLAB's axes reversed, so our order is stored as it is; complex numbers are compounds of
`real` and `imag`. HDF5 lays out the file in memory, a few kilobytes that say where the values go;
the values are then written around it: a full disk under an open HDF5 file can end the process.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
from jaxtyping import Bool, Complex64

from mrcli.errors import ShapeError
from mrcli.io.atomic import atomic_path, require_space, write_bytes_atomically
from mrcli.io.scan_facts import KSpaceShape

SliceArray = Complex64[np.ndarray, "frame coil y x"]
WriteSlice = Callable[[int, SliceArray], None]

_USERBLOCK_BYTES = 512
_SIGNATURE = b"MATLAB 7.3 MAT-file"
_VERSION = b"\x00\x02IM"  # version 2, little endian
_HEAD = _SIGNATURE.ljust(124) + _VERSION
_COMPLEX = np.dtype([("real", "<f4"), ("imag", "<f4")])
_PAIRS = np.dtype("<c8")  # the same bytes


@contextmanager
def open_kspace_mat(path: Path, name: str, shape: KSpaceShape) -> Iterator[WriteSlice]:
    """Yield what writes slice ``index`` of the variable `name`, complex64 ``(frame, coil, y, x)``.

    Slices come in any order, each once. The file appears when the block ends, and replaces an
    older one; whatever is raised in the block leaves nothing. No more than a frame is copied.

    Raises:
        ShapeError: an axis is empty, a slice has another shape, came twice or never, or its
            index is none.
        OutputError: there is no space for the file, or it cannot be written.

    """
    _require_filled(shape, path.name)
    layout, offset = _laid_out(name, shape)
    require_space(path, offset + _PAIRS.itemsize * prod(shape))
    with atomic_path(path, overwrite=True) as temporary, temporary.open("r+b") as file:
        file.write(layout)
        kspace = _OpenKSpace(file, offset, shape, path.name)
        yield kspace.write_slice
        kspace.require_all()


def write_kspace_mat(
    path: Path, name: str, kspace: Complex64[np.ndarray, "frame slice coil y x"]
) -> None:
    """Write k-space as the variable `name`; an older file is replaced.

    Raises:
        ShapeError: an axis is empty.
        OutputError: there is no space for the file, or it cannot be written.

    """
    n_frames, n_slices, n_coils, n_y, n_x = kspace.shape
    with open_kspace_mat(path, name, (n_frames, n_slices, n_coils, n_y, n_x)) as write_slice:
        for index in range(n_slices):
            write_slice(index, kspace[:, index])


def write_mask_mat(path: Path, mask: Bool[np.ndarray, "frame y x"]) -> None:
    """Write a mask as the variable `mask`, numbers 0 and 1; an older file is replaced."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=_USERBLOCK_BYTES) as file:
        dataset = file.create_dataset("mask", data=mask.astype(np.float64))
        dataset.attrs["MATLAB_class"] = np.bytes_(b"double")
    write_bytes_atomically(path, _with_head(buffer), overwrite=True)


def _with_head(buffer: io.BytesIO) -> bytes:
    buffer.seek(0)
    buffer.write(_HEAD)
    return buffer.getvalue()


def _laid_out(name: str, shape: KSpaceShape) -> tuple[bytes, int]:
    """Return the start of the file, all but the values, and the offset of the first of them."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=_USERBLOCK_BYTES) as file:
        dataset = file.create_dataset(name, shape, _COMPLEX, fill_time="never")
        dataset.attrs["MATLAB_class"] = np.bytes_(b"single")
        # space is allotted at the first write: here, so that nothing of HDF5's lies behind it
        dataset[(0,) * len(shape)] = np.zeros((), _COMPLEX)
        offset = int(dataset.id.get_offset())
    return _with_head(buffer)[:offset], offset


def _require_filled(shape: KSpaceShape, label: str) -> None:
    if min(shape) < 1:
        raise ShapeError(f"{label}: an axis of (frame, slice, coil, y, x) {shape} is empty")


@dataclass(frozen=True, eq=False)
class _OpenKSpace:
    """A file whose values, row-major from `offset` on, are written slice by slice."""

    file: BinaryIO
    offset: int
    shape: KSpaceShape
    label: str
    written: set[int] = field(default_factory=set)

    def write_slice(self, index: int, kspace: SliceArray) -> None:
        """Write slice `index`, once; raises `ShapeError`."""
        self._require_index(index)
        self._require_shape(index, kspace.shape)
        for frame, block in enumerate(kspace):
            self.file.seek(self._position(frame, index))
            self.file.write(np.ascontiguousarray(block, _PAIRS).data)
        self.written.add(index)

    def require_all(self) -> None:
        """Raise `ShapeError` unless every slice was written."""
        missing = sorted(set(range(self.shape[1])) - self.written)
        if missing:
            raise ShapeError(
                f"{self.label}: slice {missing[0]} was not written, "
                f"{len(missing)} of {self.shape[1]} are missing"
            )

    def _position(self, frame: int, index: int) -> int:
        _, n_slices, *block = self.shape
        return self.offset + _PAIRS.itemsize * prod(block) * (frame * n_slices + index)

    def _require_index(self, index: int) -> None:
        if not 0 <= index < self.shape[1]:
            raise ShapeError(
                f"{self.label}: slice {index} does not exist, there are {self.shape[1]}"
            )
        if index in self.written:
            raise ShapeError(f"{self.label}: slice {index} was written already")

    def _require_shape(self, index: int, found: tuple[int, ...]) -> None:
        needed = (self.shape[0], *self.shape[2:])
        if found != needed:
            raise ShapeError(
                f"{self.label}: slice {index} (frame, coil, y, x) has shape {found}, needed is "
                f"{needed}"
            )
