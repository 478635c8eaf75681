"""Reads CMRxRecon ``.mat`` files in both containers that the data sets mix.

HDF5 (v7.3) lists MATLAB's axes reversed and stores records of ``real`` and ``imag``; classic files
keep MATLAB's order and native complex numbers. So the container decides the axes. No mask is
claimed for fully sampled variables: what was acquired is for the later look at the zeros to say.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from mrcli.errors import DataError, MissingField
from mrcli.io.array_scan import (
    KSpaceArray,
    array_scan,
    sliced_by,
    with_full_kspace,
    with_mask,
    with_place,
)
from mrcli.io.cmrxrecon_tree import mask_beside, protocol_of, site_of
from mrcli.io.files import is_hdf5
from mrcli.io.hdf5 import (
    has_dataset,
    listed,
    names_in,
    opened,
    read_slice,
    read_values,
    require_dataset,
)
from mrcli.io.interface import Match, Reader
from mrcli.io.layout import COLUMN_MAJOR, ROW_MAJOR, axes_of, leading_layout, trailing_layout
from mrcli.io.lazy import LazyArray, lazy_slice
from mrcli.io.masks import FIELD, matlab_vector, read_mask
from mrcli.io.mat5 import is_mat5, list_variables, load_variable, require_variable
from mrcli.scan import MaskSource, Scan

_NAME = "cmrxrecon-mat"
_FULL = "kspace_full"
_VARIABLES = ("kus", "kspace", _FULL)
_LIKE_KSPACE = re.compile(r"(kspace|kus)_\w+")
_OTHER = frozenset({"mask", "img4ranking", "image", "reference", "reconstruction"})


def kspace_name(names: Iterable[str]) -> str | None:
    """Return which variable is the scan's k-space: undersampled before full, then ``kspace_*``."""
    names = tuple(names)
    known = next((name for name in _VARIABLES if name in names), None)
    like = [name for name in names if _LIKE_KSPACE.fullmatch(name)]
    return known or (like[0] if len(like) == 1 else None)


def match_names(names: Iterable[str]) -> Match:
    """Say whether a container with these fields holds k-space, something else of ours, or not."""
    names = tuple(names)
    if kspace_name(names):
        return Match.YES
    return Match.NOT_KSPACE if _OTHER & set(names) else Match.NO


def _sniff(path: Path) -> Match:
    try:
        if is_mat5(path):
            return match_names(list_variables(path))
        return _sniff_hdf5(path) if is_hdf5(path) else Match.NO
    except DataError:
        return Match.NO


def _sniff_hdf5(path: Path) -> Match:
    with opened(path) as file:
        name = kspace_name(names_in(file))
        if name is None:
            return match_names(names_in(file))
        if "ismrmrd_header" in names_in(file) or not has_dataset(file, name):
            return Match.NO
        is_record = file[name].dtype.names == ("real", "imag")
        is_matlab = is_record or "MATLAB_class" in file[name].attrs
    return Match.YES if is_matlab else Match.NO


def _open(path: Path) -> Scan:
    if is_mat5(path):
        return _with_surroundings(_open_classic(path))
    return _with_surroundings(_open_hdf5(path))


def _with_surroundings(scan: Scan) -> Scan:
    scan = with_place(scan, site_of(scan.path), protocol_of(scan.path))
    beside = mask_beside(scan.path) if scan.mask is None else None
    if beside is None:
        return scan
    mask = read_mask(beside, scan.header)
    return replace(scan, mask=mask, mask_source=MaskSource.BESIDE, beside=(*scan.beside, beside))


def _require_name(path: Path, names: tuple[str, ...]) -> str:
    name = kspace_name(names)
    if name is None:
        raise MissingField(
            f"{path.name}: no field 'kspace' as {_NAME} needs, the file holds {listed(names)}",
            hint="name k-space 'kspace', 'kspace_full' or 'kus'",
        )
    return name


def _open_classic(path: Path) -> Scan:
    names = tuple(list_variables(path))
    name = _require_name(path, names)
    scan = array_scan(path, _NAME, _classic_array(path, name))
    if FIELD in names:
        scan = with_mask(scan, matlab_vector(load_variable(path, FIELD).T))
    has_reference = name != _FULL and _FULL in names
    return with_full_kspace(scan, _classic_array(path, _FULL)) if has_reference else scan


def _classic_array(path: Path, name: str) -> KSpaceArray:
    variable = require_variable(path, name)
    layout = leading_layout(variable.shape, axes_of(name, COLUMN_MAJOR))
    values = LazyArray(partial(load_variable, path, name), f"{path.name}: field '{name}'")
    load = sliced_by(lazy_slice, values, layout)
    return KSpaceArray(name, variable.dtype, layout, load)


def _open_hdf5(path: Path) -> Scan:
    mask: np.ndarray | None = None
    with opened(path) as file:
        names = names_in(file)
        mask = read_values(require_dataset(file, FIELD)) if FIELD in names else None
    name = _require_name(path, names)
    scan = array_scan(path, _NAME, hdf5_array(path, name))
    if mask is not None:
        scan = with_mask(scan, matlab_vector(mask))
    has_reference = name != _FULL and _FULL in names
    return with_full_kspace(scan, hdf5_array(path, _FULL)) if has_reference else scan


def hdf5_array(path: Path, name: str) -> KSpaceArray:
    """Describe dataset `name`, whose last axes are ``coil, y, x``, or ``slice, y, x``."""
    with opened(path) as file:
        dataset = require_dataset(file, name)
        shape, dtype = dataset.shape, dataset.dtype
    layout = trailing_layout(shape, axes_of(name, ROW_MAJOR))
    return KSpaceArray(name, dtype, layout, sliced_by(read_slice, path, name, layout))


READER = Reader(
    name=_NAME,
    describes="CMRxRecon MAT files, classic (v5 to v7) and HDF5 (v7.3)",
    needs="complex 'kspace', 'kspace_full' or 'kus', axes (x, y, coil, slice, frame) in MATLAB",
    sniff=_sniff,
    open=_open,
)
