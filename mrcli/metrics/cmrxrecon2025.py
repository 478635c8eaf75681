"""The scorer of the CMRxRecon2025 challenge, quirks included and named.

Its definition is the organisers' public evaluation code, and these are its peculiarities:

- the score sees a *central crop* of a third of x and a half of y, the *central two slices* and
  the *first three frames*; all frames of the mapping views (`MAPPING_VIEWS`);
- sizes are rounded as MATLAB does, *half away from zero*; a crop of size s starts at
  ``floor(n / 2) + ceil(-s / 2)``;
- each frame of image and reference is divided by *its own 99.5th percentile* of magnitude, so a
  wrong scale, even one that changes from frame to frame, costs nothing;
- the data range is the maximum of whichever array the scorer takes for the truth;
- an array that keeps *both* a slice and a frame axis is compared in the right order, but for any
  other the *arguments arrive swapped*: range and NMSE then refer to the reconstruction. Axes of
  length 1 are dropped first, so every single-slice or single-frame scan is scored that way.

Its numbers compare neither with those of other years nor with those of any other metric set.
"""

import math
from enum import StrEnum
from typing import Any

import numpy as np
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from mrcli.errors import DataError, ShapeError
from mrcli.metrics.image import SSIM_WINDOW, Magnitudes, Quality, require_comparable

MAPPING_VIEWS = frozenset({"T1map", "T1mappost", "T1rho", "T2map", "T2smap"})
N_SLICES = 2
N_FRAMES = 3
PERCENTILE = 99.5


class FrameChoice(StrEnum):
    """Which frames are scored."""

    FIRST_THREE = "the first three frames"
    ALL = "all frames"  # parametric mapping


class CallOrder(StrEnum):
    """In which order the scorer is called; decides what it takes for the truth."""

    PRED_GT = "(pred, gt)"  # the ranking of the challenge
    GT_RECON = "(gt, recon)"


def frame_choice(view: str) -> FrameChoice:
    """Return the frames that are scored of a view such as ``cine_sax`` or ``T1map``."""
    return FrameChoice.ALL if view in MAPPING_VIEWS else FrameChoice.FIRST_THREE


def rounded(numerator: int, denominator: int) -> int:
    """Return ``numerator / denominator`` rounded half away from zero, as MATLAB rounds."""
    return (2 * numerator + denominator) // (2 * denominator)


def central(n: int, size: int) -> slice:
    """Return the crop of `size` indices of an axis of length `n`."""
    start = n // 2 - size // 2  # floor(n / 2) + ceil(-size / 2)
    return slice(start, start + size)


def scored_slices(n_slices: int) -> slice:
    """Return the central two slices, all if there are fewer than three."""
    if n_slices <= N_SLICES:
        return slice(0, n_slices)
    stop = rounded(n_slices, 2)
    return slice(stop - N_SLICES, stop)


def scored_frames(n_frames: int, choice: FrameChoice) -> slice:
    """Return the frames that are scored."""
    return slice(0, n_frames if choice is FrameChoice.ALL else min(N_FRAMES, n_frames))


def scored_region(
    shape: tuple[int, int, int, int], choice: FrameChoice
) -> tuple[slice, slice, slice, slice]:
    """Return what the score sees of a volume ``(frame, slice, y, x)``."""
    n_frames, n_slices, n_y, n_x = shape
    return (
        scored_frames(n_frames, choice),
        scored_slices(n_slices),
        central(n_y, rounded(n_y, 2)),
        central(n_x, rounded(n_x, 3)),
    )


def is_swapped(shape: tuple[int, ...], order: CallOrder) -> bool:
    """Say whether the reconstruction is taken for the truth, from the shape that is scored.

    `shape` is ``(frame, slice, y, x)`` of the region; axes of length 1 count as absent.
    """
    keeps_both_axes = min(shape[:2]) > 1
    return keeps_both_axes == (order is CallOrder.GT_RECON)


def score_region(
    region: Magnitudes, reference: Magnitudes, order: CallOrder = CallOrder.PRED_GT
) -> list[list[Quality]]:
    """Return the quality ``[frame][slice]`` of a region ``(frame, slice, y, x)``, already cropped.

    The arithmetic is in single precision, as is the organisers'.
    """
    truth, other = (region, reference) if is_swapped(region.shape, order) else (reference, region)
    return [
        [_score_frame(t, o) for t, o in zip(truth_slices, other_slices, strict=True)]
        for truth_slices, other_slices in zip(truth, other, strict=True)
    ]


def _score_frame(truth: Magnitudes, other: Magnitudes) -> Quality:
    require_comparable(other, truth)
    _require_window(truth.shape)
    truth, other = _self_normalised(truth), _self_normalised(other)
    data_range = truth.max()
    return Quality(
        psnr_db=_psnr(truth, other, data_range),
        ssim=float(structural_similarity(truth, other, data_range=data_range)),
        nmse=float(np.sum(np.abs(truth - other) ** 2) / np.sum(np.abs(truth) ** 2)),
    )


def _psnr(truth: Magnitudes, other: Magnitudes, data_range: np.floating[Any]) -> float:
    if mean_squared_error(truth, other) == 0:
        return math.inf
    return float(peak_signal_noise_ratio(truth, other, data_range=data_range))


def _self_normalised(frame: Magnitudes) -> Magnitudes:
    magnitude = np.abs(frame.astype(np.float32))
    percentile = np.percentile(magnitude, PERCENTILE)
    if percentile == 0:
        raise DataError(f"the {PERCENTILE} percentile of a frame is 0: cmrxrecon2025 divides by it")
    return (magnitude / percentile).astype(np.float32)


def _require_window(shape: tuple[int, ...]) -> None:
    if min(shape) < SSIM_WINDOW:
        raise ShapeError(
            f"the region that cmrxrecon2025 scores is {shape[0]} x {shape[1]} pixels, "
            f"ssim needs {SSIM_WINDOW} x {SSIM_WINDOW}"
        )
