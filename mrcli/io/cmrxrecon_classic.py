"""Writes k-space and masks as the T1w files of CMRxRecon: classic MAT files (version 5).

They keep MATLAB's order, `(x, y, coil, slice, frame)`, and MATLAB drops trailing axes of length 1.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Complex64
from scipy.io import savemat

from mrcli.errors import OutputError
from mrcli.io.atomic import atomic_path, require_space

_MAX_BYTES = 2**31 - 1  # of one variable: sizes are signed 32 bit
_SIGNATURE = b"MATLAB 5.0 MAT-file".ljust(116)  # without the time and system that scipy states


def write_classic_mat(
    path: Path, name: str, kspace: Complex64[np.ndarray, "frame slice coil y x"]
) -> None:
    """Write k-space as the variable `name`; an older file is replaced.

    Raises:
        OutputError: the format cannot hold that many bytes, or the file cannot be written.

    """
    if kspace.nbytes > _MAX_BYTES:
        raise OutputError(
            f"{path.name}: variable '{name}' has {kspace.nbytes} bytes, a classic MAT file holds "
            f"{_MAX_BYTES} in one",
            hint="write version 7.3, which is HDF5, or fewer frames, slices or coils",
        )
    _write(path, name, kspace)


def write_classic_mask_mat(path: Path, mask: Bool[np.ndarray, "frame y x"]) -> None:
    """Write a mask as the variable `mask`, numbers 0 and 1; an older file is replaced."""
    _write(path, "mask", mask.astype(np.float64))


def _write(path: Path, name: str, values: np.ndarray) -> None:
    require_space(path, values.nbytes)
    with atomic_path(path, overwrite=True) as temporary, temporary.open("wb") as file:
        savemat(file, {name: _in_matlab_order(values)})
        file.seek(0)
        file.write(_SIGNATURE)


def _in_matlab_order(values: np.ndarray) -> np.ndarray:
    first = next((axis for axis, n in enumerate(values.shape[:-2]) if n > 1), values.ndim - 2)
    return values.reshape(values.shape[first:]).T
