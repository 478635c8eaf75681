"""How an array in a container maps to the canonical axes, and how one slice of it is cut out."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from mrcli.errors import DataError, InputError, ShapeError
from mrcli.findings import Finding, Severity
from mrcli.types import KSpace

Axis = Literal["frame", "slice", "coil", "y", "x"]
Index = tuple[int | slice, ...]

ROW_MAJOR: tuple[Axis, ...] = ("frame", "slice", "coil", "y", "x")
COLUMN_MAJOR: tuple[Axis, ...] = ("x", "y", "coil", "slice", "frame")
MAX_COILS = 128
_SINGLE_COIL = re.compile(r"(kspace|kus)_single(_\w+)?")

_SINGLE = np.finfo(np.float32)
_SINGLE_PAIR = np.dtype([("real", "=f4"), ("imag", "=f4")])


@dataclass(frozen=True)
class Layout:
    """The stored axes of k-space, in stored order, and their lengths."""

    axes: tuple[Axis, ...]
    shape: tuple[int, ...]

    def size(self, axis: Axis) -> int:
        """Return the length of `axis`, 1 where it is not stored."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    @property
    def matrix(self) -> tuple[int, int]:
        """Lengths of y and x."""
        return self.size("y"), self.size("x")

    def slice_index(self, index: int) -> Index:
        """Return what to index the stored array with to get slice `index` alone."""
        self.require_slice(index)
        return tuple(index if axis == "slice" else slice(None) for axis in self.axes)

    def require_slice(self, index: int) -> None:
        """Raise `ShapeError` unless the array has a slice `index`."""
        require_slice(index, self.size("slice"))

    def arrange(self, block: np.ndarray) -> np.ndarray:
        """Return the stored values of one slice in the order ``(frame, coil, y, x)``."""
        stored = [axis for axis in self.axes if axis != "slice"]
        wanted = [axis for axis in ROW_MAJOR if axis != "slice"]
        ordered = block.transpose([stored.index(axis) for axis in wanted if axis in stored])
        return ordered.reshape([self.size(axis) for axis in wanted])


def require_slice(index: int, n_slices: int) -> None:
    """Raise `ShapeError` unless ``0 <= index < n_slices``."""
    if not 0 <= index < n_slices:
        raise ShapeError(f"slice {index} does not exist: the scan has {n_slices}")


def axes_of(name: str, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Return `axes` without the coils where the field is called ``kspace_single_*``.

    CMRxRecon stores one combined coil under that name, and no axis for it.
    """
    return tuple(axis for axis in axes if axis != "coil" or not is_single_coil(name))


def is_single_coil(name: str) -> bool:
    """Say whether a field of this name has no axis of coils."""
    return _SINGLE_COIL.fullmatch(name) is not None


def trailing_layout(shape: tuple[int, ...], axes: tuple[Axis, ...] = ROW_MAJOR) -> Layout:
    """Return the layout of an array that has the last of `axes`; leading ones may lack."""
    _require_number(shape, axes)
    return Layout(axes[-len(shape) :], shape)


def leading_layout(shape: tuple[int, ...], axes: tuple[Axis, ...] = COLUMN_MAJOR) -> Layout:
    """Return the layout of an array that has the first of `axes`; trailing ones may lack."""
    _require_number(shape, axes)
    return Layout(axes[: len(shape)], shape)


def _require_number(shape: tuple[int, ...], axes: tuple[Axis, ...]) -> None:
    if not 2 <= len(shape) <= len(axes):
        raise ShapeError(
            f"k-space of shape {shape} has {len(shape)} axes, needed are 2 to {len(axes)}",
            hint=f"store ({', '.join(axes)}); frame and slice of length 1 may be left out",
        )


def named_layout(names: str, shape: tuple[int, ...]) -> Layout:
    """Return the layout that `names`, such as ``x,y,coil,slice,frame``, gives the stored axes."""
    axes = tuple(_axis(name) for name in names.split(","))
    if len(set(axes)) != len(axes) or not {"y", "x"} <= set(axes):
        raise InputError(f"axes '{names}': y and x are needed, and no axis twice")
    if len(axes) != len(shape):
        raise ShapeError(
            f"axes '{names}' name {len(axes)} axes, k-space of shape {shape} has {len(shape)}"
        )
    return Layout(axes, shape)


def _axis(name: str) -> Axis:
    for axis in ROW_MAJOR:
        if name.strip() == axis:
            return axis
    raise InputError(f"'{name.strip()}' is no axis", hint=f"axes are {', '.join(ROW_MAJOR)}")


def require_plausible(layout: Layout) -> None:
    """Raise `ShapeError` if the coil axis can only be another one: axes in an order not known."""
    n_coils, (n_y, n_x) = layout.size("coil"), layout.matrix
    if n_coils > MAX_COILS or n_coils > max(n_y, n_x):
        seen = ", ".join(f"{axis} {n}" for axis, n in zip(layout.axes, layout.shape, strict=True))
        raise ShapeError(
            f"shape {layout.shape} would be ({seen}): {n_coils} coils for a matrix of "
            f"{n_y} x {n_x} cannot be",
            hint="name the stored order, for instance --axes x,y,coil,slice,frame",
        )


def as_complex64(block: np.ndarray, label: str, *, is_own: bool = False) -> np.ndarray:
    """Return complex64 in native byte order; ``(real, imag)`` records become complex numbers.

    The answer is a copy, unless the caller owns `block` and its bits are right already. Raises
    `DataError`, naming file and field by `label`, where double precision holds a scale that single
    precision has no numbers for.
    """
    if block.dtype == _SINGLE_PAIR:
        block = block.view(np.complex64)
    elif block.dtype.names is not None:
        real, imag = (block[name] for name in block.dtype.names)
        block = real + 1j * imag if real.dtype.itemsize == 8 else _pair(real, imag)
    if block.dtype.itemsize == 2 * _SINGLE_PAIR.itemsize:
        _require_single_range(block, label)
    with np.errstate(over="ignore"):
        return np.array(block, dtype=np.complex64, order="C", copy=None if is_own else True)


def _require_single_range(block: np.ndarray, label: str) -> None:
    largest = np.maximum(np.abs(block.real), np.abs(block.imag))
    peak = largest.max(initial=0, where=np.isfinite(largest))
    if peak > 0 and not _SINGLE.tiny <= peak <= _SINGLE.max:
        raise DataError(
            f"{label} has {peak:.3g} as its largest value, beyond single precision "
            f"({_SINGLE.tiny:.2g} to {_SINGLE.max:.2g})",
            hint="scale the values before they are stored, for instance to a peak of 1",
        )


def _pair(real: np.ndarray, imag: np.ndarray) -> np.ndarray:
    values = np.empty(real.shape, np.complex64)
    values.real, values.imag = real, imag
    return values


def as_kspace(layout: Layout, block: np.ndarray, label: str, *, is_own: bool = False) -> KSpace:
    """Return the stored values of one slice as complex64 ``(frame, coil, y, x)``."""
    return torch.from_numpy(as_complex64(layout.arrange(block), label, is_own=is_own))


def precision_findings(dtype: np.dtype) -> tuple[Finding, ...]:
    """Say that double precision is rounded to single, where it is."""
    if complex_bytes(dtype) == 8:
        return ()
    return (
        Finding(
            "rounded-to-single",
            Severity.INFO,
            f"k-space is stored as {dtype_name(dtype)} and used as complex64",
            "nothing: the noise of a scan is far above the rounding",
        ),
    )


def complex_bytes(dtype: np.dtype) -> int:
    """Return the bytes of one complex number of `dtype`, 0 if `dtype` is not complex.

    Complex are numpy's own types and records of ``real`` and ``imag`` of one float type.
    """
    if dtype.kind == "c" and dtype.itemsize in (8, 16):
        return dtype.itemsize
    if dtype.names == ("real", "imag") and dtype[0] == dtype[1]:
        part = dtype[0]
        return 2 * part.itemsize if part.kind == "f" and part.itemsize in (4, 8) else 0
    return 0


def dtype_name(dtype: np.dtype) -> str:
    """Return the name for the header: ``complex64`` also for records of two singles."""
    n_bytes = complex_bytes(dtype)
    return f"complex{8 * n_bytes}" if n_bytes else str(dtype)
