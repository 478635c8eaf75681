"""What the header of a simulated scan states: scanner, protocol and grid, nothing about persons."""

from dataclasses import dataclass
from math import isfinite

from mrcli.errors import DataError
from mrcli.site import Site

KSpaceShape = tuple[int, int, int, int, int]  # (frame, slice, coil, y, x)


@dataclass(frozen=True)
class ScanFacts:
    """The facts beside k-space. Slices are stacked along their normal, without gap or tilt.

    k-space covers the encoded field of view, which is `readout_oversampling` times that of the
    image along x; `voxel_size_mm` is ``(x, y, slice)`` and the same in both.
    """

    site: Site
    protocol: str
    voxel_size_mm: tuple[float, float, float]
    readout_oversampling: float = 1.0
    dwell_us: float = 0.0  # time of one sample; 0 says unknown, as headers do

    def __post_init__(self) -> None:
        if not all(isfinite(size) and size > 0 for size in self.voxel_size_mm):
            raise DataError(f"voxel size {self.voxel_size_mm} mm, needed are sizes above zero")
        if not (isfinite(self.readout_oversampling) and self.readout_oversampling >= 1):
            raise DataError(
                f"readout oversampling {self.readout_oversampling}, needed is 1 (none) or more"
            )
        if not (isfinite(self.dwell_us) and self.dwell_us >= 0):
            raise DataError(f"dwell time {self.dwell_us} us, needed is 0 (unknown) or more")

    def n_x_image(self, n_x: int) -> int:
        """Return how many of `n_x` readout points the field of view of the image needs."""
        return max(1, round(n_x / self.readout_oversampling))
