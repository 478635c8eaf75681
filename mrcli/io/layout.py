"""How an array in a container maps to the canonical axes, and how one slice of it is cut out."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from mrcli.errors import InputError, ShapeError
from mrcli.findings import Finding, Severity
from mrcli.types import KSpace

Axis = Literal["frame", "slice", "coil", "y", "x"]
Index = tuple[int | slice, ...]

ROW_MAJOR: tuple[Axis, ...] = ("frame", "slice", "coil", "y", "x")
COLUMN_MAJOR: tuple[Axis, ...] = ("x", "y", "coil", "slice", "frame")
MAX_COILS = 128

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


def trailing_layout(shape: tuple[int, ...]) -> Layout:
    """Return the layout of an array whose last axes are ``coil, y, x``; leading ones may lack."""
    return _shorter(ROW_MAJOR[-len(shape) :], shape)


def leading_layout(shape: tuple[int, ...]) -> Layout:
    """Return the layout of an array in MATLAB order: ``x, y, coil``, then slice and frame."""
    return _shorter(COLUMN_MAJOR[: len(shape)], shape)


def _shorter(axes: tuple[Axis, ...], shape: tuple[int, ...]) -> Layout:
    if not 2 <= len(shape) <= 5:
        raise ShapeError(
            f"k-space of shape {shape} has {len(shape)} axes, needed are 2 to 5",
            hint="store (frame, slice, coil, y, x); leading axes of length 1 may be left out",
        )
    return Layout(axes, shape)


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


def as_complex64(block: np.ndarray, *, is_own: bool = False) -> np.ndarray:
    """Return complex64 in native byte order; ``(real, imag)`` records become complex numbers.

    The answer is a copy, unless the caller owns `block` and its bits are right already. Values
    beyond single precision become infinite: that is a finding of the checks, not of this.
    """
    if block.dtype == _SINGLE_PAIR:
        block = block.view(np.complex64)
    elif block.dtype.names is not None:
        real, imag = (block[name] for name in block.dtype.names)
        block = real + 1j * imag if real.dtype.itemsize == 8 else _pair(real, imag)
    with np.errstate(over="ignore"):
        return np.array(block, dtype=np.complex64, order="C", copy=None if is_own else True)


def _pair(real: np.ndarray, imag: np.ndarray) -> np.ndarray:
    values = np.empty(real.shape, np.complex64)
    values.real, values.imag = real, imag
    return values


def as_kspace(layout: Layout, block: np.ndarray, *, is_own: bool = False) -> KSpace:
    """Return the stored values of one slice as complex64 ``(frame, coil, y, x)``."""
    return torch.from_numpy(as_complex64(layout.arrange(block), is_own=is_own))


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
