"""Reads classic MAT files (version 5 to 7): what they hold without loading it, then one array.

The tags are parsed here because their sizes are the only proof that a file is complete, and
because the listing of `scipy.io` does not say whether an array is complex. Format: MathWorks,
"MAT-File Format", chapter "Level 5 MAT-File Format". Values are read by `scipy.io.loadmat`.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from scipy.io import loadmat

from mrcli.errors import DataError, MissingField
from mrcli.io.files import MAT5_PREFIX, head_bytes, require_file
from mrcli.io.hdf5 import HARMLESS_BYTES, MAX_BYTES, MAX_RATIO, listed

_MATRIX, _COMPRESSED = 14, 15
_COMPLEX_FLAG = 0x0800
_NUMERIC = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}
_NUMERIC |= {14: "i8", 15: "u8"}
_HEADER_BYTES = 128
_TAGS_BYTES = 512  # flags, up to 32 dimensions and a name of 63 letters stand before the values
_MIN_ITEM_BYTES = 1  # MATLAB stores whole numbers in the narrowest type that holds them
_FOREIGN_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    RuntimeError,
    OverflowError,
    MemoryError,
    EOFError,
    ImportError,
    zlib.error,
    struct.error,
)


@dataclass(frozen=True)
class Variable:
    """What a MAT file says about one of its numeric arrays."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def n_bytes(self) -> int:
        """Bytes of the array in memory."""
        return prod(self.shape) * self.dtype.itemsize


def is_mat5(path: Path) -> bool:
    """Say whether the file starts as a classic MAT file does."""
    return head_bytes(path, len(MAT5_PREFIX)) == MAT5_PREFIX


def list_variables(path: Path) -> dict[str, Variable | None]:
    """Map the names of all variables to what they are; None for what is not a plain array.

    Raises:
        DataError: the file ends before its last variable does, or its tags contradict themselves.

    """
    n_bytes = require_file(path)
    try:
        with path.open("rb") as file:
            return dict(_variables(file, n_bytes))
    except _FOREIGN_ERRORS as cause:
        raise DataError(
            f"{path.name}: classic MAT file is truncated or corrupt",
            hint="copy the file again from where it was made",
        ) from cause


def _variables(file: BinaryIO, n_bytes: int) -> Iterator[tuple[str, Variable | None]]:
    order = _byte_order(file.read(_HEADER_BYTES))
    offset = _HEADER_BYTES
    while offset < n_bytes:
        file.seek(offset)
        kind, length = struct.unpack(order + "II", file.read(8))
        offset += 8 + length
        if kind not in (_MATRIX, _COMPRESSED) or offset > n_bytes:
            raise ValueError("element beyond the end of the file")
        yield _variable(file.read(min(length, _TAGS_BYTES)), kind, length, order)


def _byte_order(header: bytes) -> Literal["<", ">"]:
    orders: dict[bytes, Literal["<", ">"]] = {b"IM": "<", b"MI": ">"}
    return orders[header[126:128]]


def _variable(
    start: bytes, kind: int, length: int, order: Literal["<", ">"]
) -> tuple[str, Variable | None]:
    if kind == _COMPRESSED:
        inner = zlib.decompressobj().decompress(start, _TAGS_BYTES)
        kind, inner_length = struct.unpack_from(order + "II", inner)
        start, longest = inner[8:], MAX_RATIO * length
    else:
        inner_length = longest = length
    if kind != _MATRIX:
        raise ValueError("no matrix")
    tags = _subelements(start, order)
    flags = struct.unpack(order + "II", next(tags))[0]
    dims = next(tags)
    shape = struct.unpack(f"{order}{len(dims) // 4}i", dims)
    name = next(tags).decode("ascii")
    variable = _numeric(name, shape, flags)
    if variable is not None:
        _require_room(variable, inner_length, longest)
    return name, variable


def _subelements(data: bytes, order: Literal["<", ">"]) -> Iterator[bytes]:
    offset = 0
    while True:
        word, length = struct.unpack_from(order + "II", data, offset)
        if word >> 16:  # small element: the length shares a word with the type, four data bytes
            yield data[offset + 4 : offset + 4 + (word >> 16)]
            offset += 8
        else:
            yield data[offset + 8 : offset + 8 + length]
            offset += 8 + length + -length % 8


def _numeric(name: str, shape: tuple[int, ...], flags: int) -> Variable | None:
    code = _NUMERIC.get(flags & 0xFF)
    if code is None:
        return None
    if flags & _COMPLEX_FLAG:
        code = "c8" if code == "f4" else "c16"
    return Variable(name, shape, np.dtype(code))


def _require_room(variable: Variable, length: int, longest: int) -> None:
    n_parts = 2 if variable.dtype.kind == "c" else 1
    n_stored = prod(variable.shape) * n_parts * _MIN_ITEM_BYTES
    is_bomb = variable.n_bytes > HARMLESS_BYTES and length > longest
    if min(variable.shape) < 0 or n_stored > length or variable.n_bytes > MAX_BYTES or is_bomb:
        raise ValueError("the array claims more than the file can hold")


def require_variable(path: Path, name: str) -> Variable:
    """Return numeric variable `name`; raises `MissingField`, or `DataError` if it is no array."""
    variables = list_variables(path)
    if name not in variables:
        raise MissingField(
            f"{path.name}: field '{name}' is missing, the file holds {listed(tuple(variables))}",
            hint="name the reader or rename the field",
        )
    variable = variables[name]
    if variable is None:
        raise DataError(f"{path.name}: field '{name}' is no array of numbers")
    return variable


def load_variable(path: Path, name: str) -> np.ndarray:
    """Load the whole numeric array `name`, in MATLAB's axis order.

    Classic MAT files have no index: one slice costs as much as all of them.
    """
    variable = require_variable(path, name)
    try:
        loaded = loadmat(path, variable_names=[name], appendmat=False)
        values = np.asarray(loaded[name])
    except _FOREIGN_ERRORS as cause:
        raise DataError(
            f"{path.name}: field '{name}' is truncated or corrupt",
            hint="copy the file again from where it was made",
        ) from cause
    if values.shape != variable.shape:
        raise DataError(
            f"{path.name}: field '{name}' has shape {values.shape}, stated was {variable.shape}"
        )
    return values
