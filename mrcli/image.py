"""A reconstructed volume: what leaves the pipeline and what writers and reports take."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float, Float32

from mrcli.errors import NotFinite, ShapeError

# any shape and affine may be handed in: the class itself says what is wrong with them
VolumeData = Float32[np.ndarray, "..."] | Complex64[np.ndarray, "..."]


@dataclass(frozen=True, eq=False)  # arrays have no truth value to compare
class ReconVolume:
    """An image, magnitude or complex, and where it lies; unknown geometry is None."""

    data: VolumeData  # (frame, slice, y, x)
    voxel_size_mm: tuple[float, float, float] | None = None  # (x, y, slice)
    affine: Float[np.ndarray, "..."] | None = (
        None  # (4, 4), voxel indices (x, y, slice) -> RAS millimetres
    )

    def __post_init__(self) -> None:
        if self.data.ndim != 4 or self.data.size == 0:
            raise ShapeError(
                f"an image of shape {self.data.shape}, needed is (frame, slice, y, x), none empty"
            )
        if self.data.dtype not in (np.float32, np.complex64):
            raise ShapeError(f"an image of {self.data.dtype}, needed is float32 or complex64")
        if self.affine is not None:
            _require_invertible(self.affine)

    @property
    def magnitude(self) -> Float32[np.ndarray, "frame slice y x"]:
        """The absolute value."""
        return np.abs(self.data)


def require_finite(volume: ReconVolume) -> None:
    """Raise `NotFinite` where a value is NaN or infinite."""
    n_bad = int(volume.data.size - np.isfinite(volume.data).sum())
    if n_bad:
        raise NotFinite(f"the image holds NaN or infinity in {n_bad} of {volume.data.size} values")


def _require_invertible(affine: Float[np.ndarray, "..."]) -> None:
    axes_mm = np.asarray(affine, dtype=np.float64)[:3, :3]
    is_map = affine.shape == (4, 4) and bool(np.isfinite(affine).all())
    if not is_map or np.linalg.matrix_rank(axes_mm) < 3:
        raise ShapeError("the affine does not place voxels in space: it is not invertible")
