"""Says where on the grid of k-space each ISMRMRD readout belongs, and what stays unacquired.

The sample `center_sample` lies at the origin of x, the line `y_center` at the origin of y. A
readout that ran backwards is turned around first; `center_sample` counts in the turned one, as it
does for its neighbours that ran forwards.
"""

from dataclasses import dataclass

import numpy as np
import torch

from mrcli.errors import DataError, ShapeError
from mrcli.findings import Finding, Severity
from mrcli.io.hdf5 import HARMLESS_BYTES, MAX_RATIO
from mrcli.io.mrd_readouts import REVERSE, Readouts, has_flag
from mrcli.scan import ScanMask


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the samples of each readout go on the stored grid; one entry per readout."""

    n_y: int
    n_x: int
    y: np.ndarray
    x_start: np.ndarray
    first: np.ndarray  # sample of the readout, turned forwards, that goes to `x_start`
    n_samples: np.ndarray
    is_reversed: np.ndarray

    @property
    def is_complete(self) -> bool:
        """Say whether every readout fills the whole of x."""
        return bool((self.n_samples == self.n_x).all())


def place(
    readouts: Readouts, matrix: tuple[int, int], y_center: int | None, label: str
) -> tuple[Placement, tuple[Finding, ...]]:
    """Place all readouts on a grid of `matrix` ``(y, x)``; raises `ShapeError` if one cannot be.

    A line counter without a stated center counts from the edge of the matrix.
    """
    n_y, n_x = matrix
    heads = readouts.heads
    is_reversed = has_flag(heads, REVERSE)
    counts = {name: heads[name].astype(np.int64) for name in
              ("number_of_samples", "center_sample", "discard_pre", "discard_post")}  # fmt: skip
    n_kept = counts["number_of_samples"] - counts["discard_pre"] - counts["discard_post"]
    first = np.where(is_reversed, counts["discard_post"], counts["discard_pre"])
    start = n_x // 2 - counts["center_sample"] + first
    # a full-length readout has one place only; many writers leave its center at 0
    is_unstated = (counts["center_sample"] == 0) & (n_kept == n_x) & (start != 0)
    start = np.where(is_unstated, 0, start)
    y = readouts.step if y_center is None else readouts.step - y_center + n_y // 2
    placement = Placement(n_y, n_x, y, start, first, n_kept, is_reversed)
    _require_inside(placement, readouts, label)
    _require_filled(placement, readouts, label)
    return placement, _center_findings(int(is_unstated.sum()))


def _require_inside(placement: Placement, readouts: Readouts, label: str) -> None:
    stop = placement.x_start + placement.n_samples
    is_outside = (placement.n_samples < 1) | (placement.x_start < 0) | (stop > placement.n_x)
    if is_outside.any():
        here = int(np.argmax(is_outside))
        head = readouts.heads[here]
        raise ShapeError(
            f"{label}: readout {readouts.rows[here]} of {head['number_of_samples']} samples with "
            f"its center at {head['center_sample']} does not fit {placement.n_x} points of x",
            hint="the header's encodedSpace must be that of the readouts",
        )
    is_outside = (placement.y < 0) | (placement.y >= placement.n_y)
    if is_outside.any():
        here = int(np.argmax(is_outside))
        raise ShapeError(
            f"{label}: readout {readouts.rows[here]} has line counter {readouts.step[here]}, which "
            f"lies at {placement.y[here]} of {placement.n_y} points of y",
            hint="the header's encodingLimits must be those of the readouts",
        )


def _require_filled(placement: Placement, readouts: Readouts, label: str) -> None:
    n_acquired = int(placement.n_samples.sum())
    n_points = readouts.n_frames * readouts.n_slices * placement.n_y * placement.n_x
    n_bytes = 8 * readouts.n_coils * n_points
    if n_bytes > HARMLESS_BYTES and n_points > MAX_RATIO * n_acquired:
        raise DataError(
            f"{label} has {n_acquired} samples for {n_points} points of {readouts.n_frames} "
            f"frames, {readouts.n_slices} slices and {placement.n_y} x {placement.n_x}, the limit "
            f"is 1 in {MAX_RATIO}",
            hint="the file is incomplete, or made to exhaust memory",
        )


def _center_findings(n_unstated: int) -> tuple[Finding, ...]:
    if n_unstated == 0:
        return ()
    return (
        Finding(
            "readout-center-assumed",
            Severity.WARNING,
            f"{n_unstated} readouts state their center at sample 0 and are as long as the matrix: "
            "they were placed on the whole of x",
            "check the image for a shift along x, and the program that wrote the file",
        ),
    )


def sampling_mask(readouts: Readouts, placement: Placement, n_x: int) -> ScanMask:
    """Return what was acquired, on the grid that `n_x` points of the field of view leave.

    Removing oversampling keeps the extent of k-space and widens its steps: a point of the new
    grid counts as acquired if it lies between the first and the last acquired sample.
    """
    width = 1 if placement.is_complete else n_x
    mask = torch.zeros(
        readouts.n_frames, readouts.n_slices, 1, placement.n_y, width, dtype=torch.bool
    )
    covered = covered_points(placement, n_x)[:, :width]
    mask[readouts.frame, readouts.slice, 0, placement.y] = torch.from_numpy(covered)
    return mask


def covered_points(placement: Placement, n_x: int) -> np.ndarray:
    """Say for each readout which of `n_x` points lie within what was acquired."""
    k = (np.arange(n_x) - n_x // 2) * (placement.n_x / n_x) + placement.n_x // 2
    last = placement.x_start + placement.n_samples - 1
    covered: np.ndarray = (k >= placement.x_start[:, None]) & (k <= last[:, None])
    return covered | (placement.n_samples == placement.n_x)[:, None]
