"""Reads sampling masks: a file of zeros and ones says which samples were acquired."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from mrcli.errors import DataError, ShapeError, UnknownFormat
from mrcli.io.files import NPY_SIGNATURE, ZIP_SIGNATURE, describe_content, head_bytes, is_hdf5
from mrcli.io.hdf5 import names_in, opened, read_values, require_dataset
from mrcli.io.mat5 import is_mat5, list_variables, load_variable
from mrcli.io.npy import list_members, load_member, load_npy
from mrcli.scan import ScanHeader, ScanMask, require_mask_fits

FIELD = "mask"
StoredMask = Bool[Tensor, "..."]  # axes as in the file
FourAxes = Bool[Tensor, "first second y readout"]
FittedMask = Bool[Tensor, "mask_frame mask_slice 1 y fitted_readout"]  # readout is x, or 1


def read_mask(path: Path, header: ScanHeader) -> FittedMask:
    """Read the mask of a scan from a MAT file of either kind, HDF5, ``.npy`` or ``.npz``.

    The field is called ``mask`` or is the only one; the axes are those of `fit_mask`, classic MAT
    files hold them in reverse.

    Raises:
        DataError: no mask there, or a value that is neither 0 nor 1.
        ShapeError: it does not fit the scan.

    """
    return fit_mask(_stored(path), path.name, header)


def _stored(path: Path) -> np.ndarray:
    if is_hdf5(path):
        with opened(path) as file:
            dataset = require_dataset(file, _field(names_in(file)))
            is_matlab = "MATLAB_class" in dataset.attrs
            return matlab_vector(read_values(dataset)) if is_matlab else read_values(dataset)
    if is_mat5(path):
        return matlab_vector(load_variable(path, _field(tuple(list_variables(path)))).T)
    head = head_bytes(path, len(NPY_SIGNATURE))
    if head == NPY_SIGNATURE:
        return load_npy(path)
    if head.startswith(ZIP_SIGNATURE):
        return load_member(path, _field(list_members(path)))
    raise UnknownFormat(
        f"{path.name}: {describe_content(path)}, no mask", hint="masks are .mat, .h5, .npy or .npz"
    )


def _field(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else FIELD


def matlab_vector(values: np.ndarray) -> np.ndarray:
    """Return a row or a column as one axis: MATLAB has no vectors, and a mask of one is over y."""
    return values.ravel() if values.ndim == 2 and 1 in values.shape else values


def fit_mask(values: np.ndarray, file: str, header: ScanHeader) -> FittedMask:
    """Turn zeros and ones into the canonical ``(frame, slice, 1, y, x)`` of the scan.

    Takes ``y``, ``(y, x)``, ``(frame, y, x)``, ``(frame, slice, y, x)``, ``(slice, 1, y, x)`` or
    the canonical axes; axes of length 1 are shared. A readout axis that is constant becomes 1:
    whole lines were acquired. `file` is for messages.

    Raises:
        DataError: a value is neither 0 nor 1.
        ShapeError: the mask cannot serve the scan, or can in two ways.

    """
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise DataError(f"{file}: mask holds values other than 0 and 1", hint="store it as 0 and 1")
    mask = _canonical(torch.from_numpy(np.array(values, dtype=bool, order="C")), file, header)
    try:
        require_mask_fits(mask, header)
    except ShapeError as error:
        raise ShapeError(f"{file}: {error.message}", hint=error.hint) from error
    is_of_lines = bool((mask == mask[..., :1]).all())
    return mask[..., :1] if is_of_lines else mask


def _canonical(mask: StoredMask, file: str, header: ScanHeader) -> ScanMask:
    match mask.ndim:
        case 1:
            return mask[None, None, None, :, None]
        case 2:
            return mask[None, None, None]
        case 3:
            return mask[:, None, None]
        case 4:
            return mask[None] if _is_per_slice(mask, file, header) else mask[:, :, None]
        case 5 if mask.shape[2] == 1:
            return mask
    raise ShapeError(
        f"{file}: mask has shape {tuple(mask.shape)}, needed are y, (y, x), (frame, y, x), "
        "(frame, slice, y, x), (slice, 1, y, x) or (frame, slice, 1, y, x)"
    )


def _is_per_slice(mask: FourAxes, file: str, header: ScanHeader) -> bool:
    """Say whether four axes are ``(slice, 1, y, x)``, as broadcasting takes them.

    ``(frame, slice, y, x)`` with one slice looks the same: the number that fits the scan decides.
    """
    n, single = mask.shape[:2]
    if single != 1 or n == 1 or n != header.n_slices:
        return False
    if n == header.n_frames:
        raise ShapeError(
            f"{file}: mask of shape {tuple(mask.shape)} may be over the {n} slices or over the "
            f"{n} frames",
            hint="store it with five axes, (1, slice, 1, y, x) or (frame, 1, 1, y, x)",
        )
    return True
