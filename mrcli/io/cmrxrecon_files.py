"""Writes k-space and masks as CMRxRecon does: MAT files of version 7.3, which are HDF5.

HDF5 lists MATLAB's axes reversed, so our order is stored as it is; complex numbers are compounds of
`real` and `imag`.
"""

import io
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool, Complex64

from mrcli.io.atomic import write_bytes_atomically

_USERBLOCK_BYTES = 512
_SIGNATURE = b"MATLAB 7.3 MAT-file"
_VERSION = b"\x00\x02IM"  # version 2, little endian
_COMPLEX = np.dtype([("real", "<f4"), ("imag", "<f4")])


def write_kspace_mat(
    path: Path, name: str, kspace: Complex64[np.ndarray, "frame slice coil y x"]
) -> None:
    """Write k-space as the variable `name`; an older file is replaced. Raises `OutputError`."""
    stored = np.ascontiguousarray(kspace).view(_COMPLEX)
    _write(path, name, stored, b"single")


def write_mask_mat(path: Path, mask: Bool[np.ndarray, "frame y x"]) -> None:
    """Write a mask as the variable `mask`, numbers 0 and 1; an older file is replaced."""
    _write(path, "mask", mask.astype(np.float64), b"double")


def _write(path: Path, name: str, stored: np.ndarray, matlab_class: bytes) -> None:
    buffer = io.BytesIO()  # in memory: a full disk under an open HDF5 file can end the process
    with h5py.File(buffer, "w", userblock_size=_USERBLOCK_BYTES) as file:
        dataset = file.create_dataset(name, data=stored)
        dataset.attrs["MATLAB_class"] = np.bytes_(matlab_class)
    content = buffer.getbuffer()
    head = _SIGNATURE.ljust(124) + _VERSION
    content[: len(head)] = head
    write_bytes_atomically(path, bytes(content), overwrite=True)
