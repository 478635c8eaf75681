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
FittedMask = Bool[Tensor, "mask_frame mask_slice 1 y fitted_readout"]  # readout is x, or 1


def read_mask(path: Path) -> ScanMask:
    """Read a mask from a MAT file of either kind, HDF5, ``.npy`` or ``.npz``.

    The field is called ``mask`` or is the only one. Axes are ``y``, ``(y, x)``, ``(frame, y, x)``
    or ``(frame, slice, y, x)``; classic MAT files hold them in reverse.

    Raises:
        DataError: no mask there, or a value that is neither 0 nor 1.

    """
    return as_mask(_stored(path), f"{path.name}: mask")


def _stored(path: Path) -> np.ndarray:
    if is_hdf5(path):
        with opened(path) as file:
            return read_values(require_dataset(file, _field(names_in(file))))
    if is_mat5(path):
        return load_variable(path, _field(tuple(list_variables(path)))).T
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


def as_mask(values: np.ndarray, label: str) -> ScanMask:
    """Turn zeros and ones into the canonical ``(frame, slice, 1, y, x)``; `label` says of what.

    Takes ``y``, ``(y, x)``, ``(frame, y, x)``, ``(frame, slice, y, x)`` or the canonical axes.
    """
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise DataError(f"{label} holds values other than 0 and 1", hint="store it as 0 and 1")
    mask = torch.from_numpy(np.array(values, dtype=bool, order="C"))
    match mask.ndim:
        case 1:
            return mask[None, None, None, :, None]
        case 2:
            return mask[None, None, None]
        case 3:
            return mask[:, None, None]
        case 4:
            return mask[:, :, None]
        case 5 if mask.shape[2] == 1:
            return mask
    raise ShapeError(
        f"{label} has shape {values.shape}, needed are y, (y, x), (frame, y, x), "
        "(frame, slice, y, x) or (frame, slice, 1, y, x)"
    )


def fit_mask(mask: ScanMask, header: ScanHeader) -> FittedMask:
    """Return `mask` if it can serve the scan; axes of length 1 are shared, raises `ShapeError`.

    A readout axis that is constant becomes 1: whole lines were acquired.
    """
    require_mask_fits(mask, header)
    is_of_lines = bool((mask == mask[..., :1]).all())
    return mask[..., :1] if is_of_lines else mask
