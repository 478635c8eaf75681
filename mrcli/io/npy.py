"""Reads ``.npy`` files and the members of ``.npz`` archives without ever unpickling."""

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib import format as npy_format

from mrcli.errors import DataError, MissingField
from mrcli.io.files import NPY_SIGNATURE, require_file
from mrcli.io.hdf5 import HARMLESS_BYTES, MAX_BYTES, MAX_RATIO, listed

MAX_MEMBERS = 64
_MAX_HEADER_BYTES = 2**14  # a plain array needs 128
_SUFFIX = ".npy"
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_FOREIGN_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    RuntimeError,  # an encrypted member
    NotImplementedError,
    OverflowError,
    MemoryError,
    EOFError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)


@dataclass(frozen=True)
class StoredArray:
    """What the header of a NumPy array says, and where its values start."""

    shape: tuple[int, ...]
    dtype: np.dtype
    is_column_major: bool
    offset: int

    @property
    def n_bytes(self) -> int:
        """Bytes of the values."""
        return prod(self.shape) * self.dtype.itemsize


@contextmanager
def _translated(label: str) -> Iterator[None]:
    try:
        yield
    except _FOREIGN_ERRORS as cause:
        raise DataError(
            f"{label} is truncated, corrupt or no plain array",
            hint="copy the file again, or save a plain array of numbers",
        ) from cause


def npy_header(path: Path) -> StoredArray:
    """Read the header of a ``.npy`` file; raises `DataError` unless the file ends as it says."""
    n_bytes = require_file(path)
    with _translated(path.name), path.open("rb") as file:
        array = _header(file.read(_MAX_HEADER_BYTES))
    _require_numbers(array, path.name)
    if array.offset + array.n_bytes != n_bytes:
        raise DataError(
            f"{path.name}: {n_bytes} bytes, an array of shape {array.shape} and type "
            f"{array.dtype} needs {array.offset + array.n_bytes}",
            hint="the file is truncated or holds something else; copy it again",
        )
    return array


def _header(start: bytes) -> StoredArray:
    file = BytesIO(start)
    version = npy_format.read_magic(file)
    if version == (1, 0):
        shape, is_column_major, dtype = npy_format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, is_column_major, dtype = npy_format.read_array_header_2_0(file)
    else:
        raise ValueError("version 3 is for names beyond ASCII, numbers need none")
    return StoredArray(shape, dtype, is_column_major, file.tell())


def _require_numbers(array: StoredArray, label: str) -> None:
    if array.dtype.kind not in "biufcU":
        raise DataError(f"{label}: type {array.dtype}, a plain array of numbers is needed")
    if min(array.shape, default=1) < 0 or array.n_bytes > MAX_BYTES:
        raise DataError(f"{label}: shape {array.shape} is beyond the limit of {MAX_BYTES} bytes")


def map_npy(path: Path, array: StoredArray) -> np.ndarray:
    """Map the values of a ``.npy`` file into memory; pages are read when they are touched."""
    order: Literal["F", "C"] = "F" if array.is_column_major else "C"
    with _translated(path.name):
        return np.memmap(
            path, array.dtype, mode="r", offset=array.offset, shape=array.shape, order=order
        )


def load_npy(path: Path) -> np.ndarray:
    """Load a whole ``.npy`` file of numbers."""
    return np.array(map_npy(path, npy_header(path)))


def list_members(path: Path) -> tuple[str, ...]:
    """List the arrays of a ``.npz`` archive; raises `DataError` if it is no sound archive."""
    require_file(path)
    with _translated(path.name), zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist()]
    if len(names) > MAX_MEMBERS or len(set(names)) != len(names):
        raise DataError(
            f"{path.name}: {len(names)} members, {len(set(names))} names, the limit is "
            f"{MAX_MEMBERS} and each name once"
        )
    return tuple(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))


def member_header(path: Path, name: str) -> StoredArray:
    """Read the header of array `name` of a ``.npz`` archive, checked against its stored size."""
    label = f"{path.name}: field '{name}'"
    if name not in list_members(path):
        raise MissingField(
            f"{label} is missing, the archive holds {listed(list_members(path))}",
            hint="rename the array that holds k-space",
        )
    with _translated(label), zipfile.ZipFile(path) as archive:
        info = archive.getinfo(name + _SUFFIX)
        _require_sound(info, label)
        with archive.open(info) as file:
            array = _header(file.read(_MAX_HEADER_BYTES))
    _require_numbers(array, label)
    if array.offset + array.n_bytes != info.file_size:
        raise DataError(f"{label}: {info.file_size} bytes do not hold shape {array.shape}")
    return array


def _require_sound(info: zipfile.ZipInfo, label: str) -> None:
    if info.compress_type not in _COMPRESSIONS:
        raise DataError(f"{label} is compressed by an unknown method", hint="use deflate or none")
    if info.file_size > max(HARMLESS_BYTES, MAX_RATIO * info.compress_size):
        raise DataError(
            f"{label} claims {info.file_size} bytes and stores {info.compress_size}, the limit is "
            f"{MAX_RATIO} to 1",
            hint="the file is incomplete, or made to exhaust memory",
        )


def load_member(path: Path, name: str) -> np.ndarray:
    """Load array `name` of a ``.npz`` archive; its checksum is verified."""
    array = member_header(path, name)
    with _translated(f"{path.name}: field '{name}'"), zipfile.ZipFile(path) as archive:
        content = archive.read(name + _SUFFIX)
        values = np.frombuffer(content, array.dtype, offset=array.offset)
        return values.reshape(array.shape, order="F" if array.is_column_major else "C")


def is_npy(head: bytes) -> bool:
    """Say whether the first bytes of a file are those of a NumPy array."""
    return head.startswith(NPY_SIGNATURE)
