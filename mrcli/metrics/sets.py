"""Metric sets: what PSNR, SSIM and NMSE mean, as data. No number is given without its set's name.

A set scores a volume ``(frame, slice, y, x)`` of magnitudes against a reference of the same shape
and carries a passport: one sentence that says what its numbers are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from mrcli.errors import DataError, InputError, ShapeError
from mrcli.metrics.cmrxrecon2025 import FrameChoice, score_region, scored_region
from mrcli.metrics.image import (
    Magnitudes,
    Quality,
    least_squares_scale,
    nmse,
    psnr,
    require_comparable,
    ssim,
)


class ReferenceKind(StrEnum):
    """Which image of fully sampled k-space a set compares with."""

    COMBINED = "coil-combined magnitude of the fully sampled k-space, noise included"
    RSS = "root-sum-of-squares of the coils of the fully sampled k-space, noise included"


@dataclass(frozen=True)
class FrameQuality:
    """The quality of one frame of one slice, counted in the volume, not in the scored part."""

    frame: int
    slice: int
    quality: Quality


@dataclass(frozen=True)
class Scores:
    """What one metric set says about one volume."""

    volume: Quality
    frames: tuple[FrameQuality, ...]

    @property
    def worst(self) -> FrameQuality:
        """The frame of lowest PSNR, of equal ones that of lowest SSIM."""
        return min(self.frames, key=lambda one: (one.quality.psnr_db, one.quality.ssim))


@dataclass(frozen=True)
class MetricSet:
    """A way to score, with its definition; `choice` matters to sets that leave frames out."""

    name: str
    passport: str
    reference: ReferenceKind
    score: Callable[[Magnitudes, Magnitudes, FrameChoice], Scores]


def score_clean(volume: Magnitudes, reference: Magnitudes, _: FrameChoice) -> Scores:
    """Score every frame by its reference's maximum, after one scale for the whole volume."""
    volume, reference = _as_double(volume, reference)
    scaled = least_squares_scale(volume, reference) * volume
    ranges = reference.max(axis=(-2, -1))
    return _mean_over(_score_frames(scaled, reference, ranges))


def score_cmrxrecon2025(volume: Magnitudes, reference: Magnitudes, choice: FrameChoice) -> Scores:
    """Score the region and the frames that the challenge scores, in its way."""
    require_comparable(volume, reference)
    region = scored_region(_volume_shape(volume), choice)
    grid = score_region(volume[region], reference[region])
    first_slice = region[1].start
    return _mean_over(
        tuple(
            FrameQuality(frame, first_slice + offset, quality)
            for frame, row in enumerate(grid)
            for offset, quality in enumerate(row)
        )
    )


def score_fastmri(volume: Magnitudes, reference: Magnitudes, _: FrameChoice) -> Scores:
    """Score the volume as a whole by the volume's maximum; SSIM is the mean over frames."""
    volume, reference = _as_double(volume, reference)
    peak = float(reference.max())
    frames = _score_frames(volume, reference, np.full(reference.shape[:2], peak))
    whole = Quality(
        psnr_db=psnr(volume, reference, data_range=peak),
        ssim=float(np.mean([one.quality.ssim for one in frames])),
        nmse=nmse(volume, reference),
    )
    return Scores(whole, frames)


METRIC_SETS: Mapping[str, MetricSet] = MappingProxyType(
    {
        one.name: one
        for one in (
            MetricSet(
                "clean",
                "clean: mean over all frames of all slices; data range = maximum of the reference "
                "frame; one least-squares scale for the whole volume; no crop, no other "
                "normalisation; SSIM with a 7 x 7 uniform window",
                ReferenceKind.COMBINED,
                score_clean,
            ),
            MetricSet(
                "cmrxrecon2025",
                "cmrxrecon2025: the challenge's scorer; central third of x and half of y, central "
                "two slices, first three frames (all for mapping); every frame divided by its own "
                "99.5 percentile; with one slice or one frame the reconstruction counts as truth",
                ReferenceKind.RSS,
                score_cmrxrecon2025,
            ),
            MetricSet(
                "fastmri",
                "fastmri: PSNR and NMSE over the whole volume, SSIM the mean over its frames (7 x "
                "7 uniform window); data range = maximum of the reference volume; no crop, no "
                "scaling",
                ReferenceKind.COMBINED,
                score_fastmri,
            ),
        )
    }
)


def find_metric_sets(names: Sequence[str]) -> tuple[MetricSet, ...]:
    """Return the sets of these names, each once; raises `InputError` for an unknown name."""
    unknown = [name for name in names if name not in METRIC_SETS]
    if unknown or not names:
        raise InputError(
            f"no metric set is called {unknown[0]!r}" if unknown else "no metric set is named",
            hint=f"the sets are {', '.join(METRIC_SETS)}",
        )
    return tuple(METRIC_SETS[name] for name in dict.fromkeys(names))


def _score_frames(
    volume: Magnitudes, reference: Magnitudes, ranges: Magnitudes
) -> tuple[FrameQuality, ...]:
    _require_contrast(reference)
    return tuple(
        FrameQuality(frame, index, _score_frame(volume[at], reference[at], float(ranges[at])))
        for at in np.ndindex(*ranges.shape)
        for frame, index in (at,)
    )


def _require_contrast(reference: Magnitudes) -> None:
    constant = np.argwhere(np.ptp(reference, axis=(-2, -1)) == 0)
    if constant.size:
        frame, index = constant[0]
        raise DataError(
            f"frame {frame} of slice {index} of the reference is constant "
            f"({len(constant)} such frames): nothing to compare with"
        )


def _score_frame(image: Magnitudes, reference: Magnitudes, data_range: float) -> Quality:
    return Quality(
        psnr_db=psnr(image, reference, data_range=data_range),
        ssim=ssim(image, reference, data_range=data_range),
        nmse=nmse(image, reference),
    )


def _mean_over(frames: tuple[FrameQuality, ...]) -> Scores:
    qualities = [one.quality for one in frames]
    mean = Quality(
        psnr_db=float(np.mean([one.psnr_db for one in qualities])),
        ssim=float(np.mean([one.ssim for one in qualities])),
        nmse=float(np.mean([one.nmse for one in qualities])),
    )
    return Scores(mean, frames)


def _as_double(volume: Magnitudes, reference: Magnitudes) -> tuple[Magnitudes, Magnitudes]:
    require_comparable(volume, reference)
    _volume_shape(volume)
    return volume.astype(np.float64), reference.astype(np.float64)


def _volume_shape(volume: Magnitudes) -> tuple[int, int, int, int]:
    if volume.ndim != 4:
        raise ShapeError(f"a volume is (frame, slice, y, x), got an array of shape {volume.shape}")
    n_frames, n_slices, n_y, n_x = volume.shape
    return n_frames, n_slices, n_y, n_x
