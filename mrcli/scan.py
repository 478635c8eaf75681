"""A scan as every reader hands it over: facts at once, k-space slice by slice.

Readers convert to the canonical axes; nothing after them does. A scan of `n_slices` slices loads
one of them as complex64 ``(frame, coil, y, x)``; a mask is bool ``(frame, slice, 1, y, x)`` in
which the axes frame, slice and x may be 1: shared by all. What is loaded belongs to the caller,
who may change it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mrcli.errors import DataError, ShapeError
from mrcli.findings import Finding
from mrcli.site import UNKNOWN_SITE, Site
from mrcli.types import KSpace, NoiseSamples, SamplingMask

ScanMask = Bool[Tensor, "mask_frame mask_slice 1 y readout"]
Affine = Float[np.ndarray, "4 4"]  # voxel indices (x, y, slice) -> RAS millimetres
ReferenceImage = Float[np.ndarray, "frame slice y x"]


class MaskSource(StrEnum):
    """Where the sampling mask of a scan came from."""

    FILE = "file"  # stored with the k-space, or in the sampling facts of its header
    BESIDE = "beside"  # a mask file that belongs to the scan by the folder convention
    GIVEN = "given"  # named by the user
    FULL = "full"  # the container holds full sampling by definition
    ZEROS = "zeros"  # inferred: lines or samples that are exactly zero were not acquired


@dataclass(frozen=True)
class ScanHeader:
    """The facts of a scan that cost no reading of k-space."""

    n_frames: int
    n_slices: int
    n_coils: int
    matrix: tuple[int, int]  # (y, x)
    dtype: str  # as stored
    site: Site = UNKNOWN_SITE
    protocol: str | None = None
    voxel_size_mm: tuple[float, float, float] | None = None  # (x, y, slice)
    affine: Affine | None = None

    def __post_init__(self) -> None:
        sizes = (self.n_frames, self.n_slices, self.n_coils, *self.matrix)
        if min(sizes) < 1:
            raise ShapeError(
                f"an axis is empty: {self.n_frames} frames, {self.n_slices} slices, "
                f"{self.n_coils} coils, matrix {self.matrix[0]} x {self.matrix[1]}"
            )

    @property
    def slice_shape(self) -> tuple[int, int, int, int]:
        """Shape ``(frame, coil, y, x)`` of one slice of k-space."""
        return (self.n_frames, self.n_coils, *self.matrix)

    @property
    def n_bytes(self) -> int:
        """Bytes of the whole scan as complex64."""
        return 8 * self.n_slices * int(np.prod(self.slice_shape))


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Scan:
    """One acquisition: header, k-space per slice, and what the container holds beside it.

    `mask` is None where the container does not say what was acquired. `load_slice` returns the
    stored values of one slice; call `slice_kspace`, which checks them.
    """

    path: Path
    format: str
    header: ScanHeader
    load_slice: Callable[[int], KSpace] = field(repr=False)
    mask: ScanMask | None = None
    mask_source: MaskSource | None = None
    noise: NoiseSamples | None = None
    reference_image: ReferenceImage | None = None  # magnitude, when the file holds one
    load_reference_slice: Callable[[int], KSpace] | None = field(default=None, repr=False)
    findings: tuple[Finding, ...] = ()
    beside: tuple[Path, ...] = ()  # other files that this scan was read from

    def __post_init__(self) -> None:
        if self.mask is not None:
            require_mask_fits(self.mask, self.header)

    def slice_kspace(self, index: int) -> KSpace:
        """Return slice `index` as complex64 ``(frame, coil, y, x)``; raises `ShapeError`."""
        kspace = self.load_slice(index)
        if kspace.dtype != torch.complex64 or tuple(kspace.shape) != self.header.slice_shape:
            raise DataError(
                f"{self.path.name}: slice {index} arrived as {kspace.dtype} "
                f"{tuple(kspace.shape)}, the header promises {self.header.slice_shape}"
            )
        return kspace

    def slice_mask(self, index: int) -> SamplingMask | None:
        """Return the mask ``(frame, 1, y, x)`` of slice `index`, None where nothing states it."""
        if self.mask is None:
            return None
        return self.mask[:, index if self.mask.shape[1] > 1 else 0]


def require_mask_fits(mask: ScanMask, header: ScanHeader) -> None:
    """Raise `ShapeError` unless `mask` can serve every frame, slice and sample of the scan."""
    needed = (header.n_frames, header.n_slices, 1, *header.matrix)
    shareable = (0, 1, 4)
    fits = mask.ndim == 5 and all(
        own == need or (axis in shareable and own == 1)
        for axis, (own, need) in enumerate(zip(mask.shape, needed, strict=True))
    )
    if not fits:
        raise ShapeError(
            f"mask of shape {tuple(mask.shape)} (frame, slice, 1, y, x) does not fit k-space that "
            f"needs {needed}",
            hint="name the mask that belongs to this scan",
        )
