"""Reads plain arrays of k-space: ``.npy``, ``.npz`` and HDF5 without a header.

The trailing axes are ``coil, y, x``, before them may stand ``slice``, before that ``frame``; a
matrix alone is one coil. Nothing in such a file says so, hence a shape that cannot be in this
order is refused, and the caller may name the stored order.
"""

from functools import partial
from pathlib import Path

import h5py
import numpy as np

from mrcli.errors import DataError, MissingField
from mrcli.io.array_scan import (
    Field,
    KSpaceArray,
    array_scan,
    sliced_by,
    with_fields,
    with_full_kspace,
)
from mrcli.io.cmrxrecon_mat import kspace_name, match_names
from mrcli.io.fastmri_h5 import lost_its_header
from mrcli.io.files import ZIP_SIGNATURE, head_bytes, is_hdf5
from mrcli.io.hdf5 import (
    has_dataset,
    listed,
    names_in,
    opened,
    read_slice,
    read_text,
    read_values,
    require_dataset,
)
from mrcli.io.interface import Match, Reader
from mrcli.io.layout import (
    ROW_MAJOR,
    Layout,
    axes_of,
    named_layout,
    require_plausible,
    trailing_layout,
)
from mrcli.io.lazy import LazyArray, lazy_slice
from mrcli.io.npy import (
    StoredArray,
    is_npy,
    list_members,
    load_member,
    map_npy,
    member_header,
    npy_header,
)
from mrcli.scan import Scan
from mrcli.types import KSpace

_ARRAY = "array"  # a file of one array has no name for it
_FULL = "kspace_full"
_MAX_TEXT_BYTES = 4096
_HEAD_BYTES = 8


def _layout(name: str, shape: tuple[int, ...], axes: str | None) -> Layout:
    if axes is not None:
        return named_layout(axes, shape)
    layout = trailing_layout(shape, axes_of(name, ROW_MAJOR))
    require_plausible(layout)
    return layout


# one array in a file of its own


def _sniff_npy(path: Path) -> Match:
    if not is_npy(head_bytes(path, _HEAD_BYTES)):
        return Match.NO
    try:
        return Match.YES if npy_header(path).dtype.kind == "c" else Match.NOT_KSPACE
    except DataError:
        return Match.YES  # a NumPy file all the same; opening it says what is wrong


def _open_npy(path: Path, axes: str | None = None) -> Scan:
    array = npy_header(path)
    if array.dtype.kind != "c":
        raise DataError(
            f"{path.name}: holds {array.dtype}, k-space is complex",
            hint="store complex numbers of single or double precision",
        )
    layout = _layout(_ARRAY, array.shape, axes)
    load = sliced_by(_mapped_slice, path, array, layout)
    return array_scan(path, "npy", KSpaceArray(_ARRAY, array.dtype, layout, load))


def _mapped_slice(path: Path, array: StoredArray, layout: Layout, index: int) -> KSpace:
    return lazy_slice(LazyArray(partial(_unchanged, path, array), path.name), layout, index)


def _unchanged(path: Path, array: StoredArray) -> np.ndarray:
    if npy_header(path) != array:  # a mapping beyond the end of a file kills the process
        raise DataError(f"{path.name}: the file changed since the scan was opened")
    return map_npy(path, array)


# several arrays in one archive


def _sniff_npz(path: Path) -> Match:
    if not head_bytes(path, _HEAD_BYTES).startswith(ZIP_SIGNATURE):
        return Match.NO
    try:
        return match_names(list_members(path))
    except DataError:
        return Match.NO


def _open_npz(path: Path, axes: str | None = None) -> Scan:
    names = list_members(path)
    name = _require_name(path, names, "npz")
    scan = array_scan(path, "npz", _member_array(path, name, axes))
    scan = with_fields(scan, partial(_member_field, path, names))
    has_reference = name != _FULL and _FULL in names
    return with_full_kspace(scan, _member_array(path, _FULL, axes)) if has_reference else scan


def _member_array(path: Path, name: str, axes: str | None) -> KSpaceArray:
    array = member_header(path, name)
    layout = _layout(name, array.shape, axes)
    values = LazyArray(partial(load_member, path, name), f"{path.name}: field '{name}'")
    load = sliced_by(lazy_slice, values, layout)
    return KSpaceArray(name, array.dtype, layout, load)


def _member_field(path: Path, names: tuple[str, ...], name: str) -> Field:
    return load_member(path, name) if name in names else None


# datasets of an HDF5 file


def _sniff_h5(path: Path) -> Match:
    if not is_hdf5(path):
        return Match.NO
    try:
        with opened(path) as file:
            return _match_h5(file)
    except DataError:
        return Match.NO


def _match_h5(file: h5py.File) -> Match:
    name = kspace_name(names_in(file))
    if name is None or "ismrmrd_header" in names_in(file) or not has_dataset(file, name):
        return Match.NO  # what else such files hold is for the MAT reader to say
    if lost_its_header(file):
        return Match.NO
    dataset = file[name]
    is_matlab = dataset.dtype.names == ("real", "imag") or "MATLAB_class" in dataset.attrs
    return Match.NO if is_matlab else Match.YES


def _open_h5(path: Path, axes: str | None = None) -> Scan:
    with opened(path) as file:
        names = names_in(file)
    name = _require_name(path, names, "plain-h5")
    scan = array_scan(path, "plain-h5", _dataset_array(path, name, axes))
    scan = with_fields(scan, partial(_dataset_field, path))
    has_reference = name != _FULL and _FULL in names
    return with_full_kspace(scan, _dataset_array(path, _FULL, axes)) if has_reference else scan


def _dataset_array(path: Path, name: str, axes: str | None) -> KSpaceArray:
    with opened(path) as file:
        dataset = require_dataset(file, name)
        shape, dtype = dataset.shape, dataset.dtype
    layout = _layout(name, shape, axes)
    return KSpaceArray(name, dtype, layout, sliced_by(read_slice, path, name, layout))


def _dataset_field(path: Path, name: str) -> Field:
    with opened(path) as file:
        if name not in names_in(file):
            return _attribute(file, name)
        dataset = require_dataset(file, name)
        is_text = h5py.check_string_dtype(dataset.dtype) is not None
        return read_text(dataset, _MAX_TEXT_BYTES) if is_text else read_values(dataset)


def _attribute(file: h5py.File, name: str) -> str | None:
    value = file.attrs.get(name)
    return value[:_MAX_TEXT_BYTES] if isinstance(value, str) else None


def _require_name(path: Path, names: tuple[str, ...], container: str) -> str:
    name = kspace_name(names)
    if name is None:
        raise MissingField(
            f"{path.name}: no field 'kspace' as {container} needs, the file holds {listed(names)}",
            hint="name k-space 'kspace'",
        )
    return name


_NEEDS = "complex 'kspace' (frame, slice, coil, y, x), leading axes may lack; optional 'mask', ..."

NPY_READER = Reader(
    name="npy",
    describes="one NumPy array",
    needs="complex (frame, slice, coil, y, x), leading axes may lack",
    sniff=_sniff_npy,
    open=_open_npy,
    open_with_axes=_open_npy,
)
NPZ_READER = Reader(
    name="npz",
    describes="an archive of NumPy arrays",
    needs=_NEEDS,
    sniff=_sniff_npz,
    open=_open_npz,
    open_with_axes=_open_npz,
)
PLAIN_H5_READER = Reader(
    name="plain-h5",
    describes="HDF5 without a header",
    needs=_NEEDS,
    sniff=_sniff_h5,
    open=_open_h5,
    open_with_axes=_open_h5,
)
