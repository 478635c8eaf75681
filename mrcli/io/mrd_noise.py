"""Brings the noise scan of an ISMRMRD file to the noise that the samples of the image have."""

import numpy as np

from mrcli.errors import DataError
from mrcli.findings import Finding, Severity
from mrcli.io.mrd_readouts import Readouts, n_averages_per_line

Scale = tuple[float, tuple[Finding, ...]]


def require_noise_coils(noise: np.ndarray, readouts: Readouts, label: str) -> None:
    """Raise `DataError` unless the headers of the noise scan have the coils of the image."""
    n_coils = np.unique(noise["active_channels"]).tolist()
    if n_coils != [readouts.n_coils]:
        raise DataError(
            f"{label} has a noise scan of {n_coils} coils, the image has {readouts.n_coils}"
        )


def noise_scale(noise: np.ndarray, readouts: Readouts) -> Scale:
    """Return what the noise samples are to be multiplied by, and why; 1 without a reason."""
    bandwidth, for_bandwidth = _bandwidth(noise, readouts.heads)
    averages, for_averages = _averages(readouts)
    return bandwidth * averages, (*for_bandwidth, *for_averages)


def _bandwidth(noise: np.ndarray, image: np.ndarray) -> Scale:
    """Bring the noise scan to the bandwidth of the image: ``sqrt(dwell ratio)``."""
    noise_us, image_us = float(noise["sample_time_us"][0]), float(image["sample_time_us"][0])
    if noise_us == image_us or not (noise_us > 0 and image_us > 0):
        return 1.0, ()
    scale = (noise_us / image_us) ** 0.5
    reason = f"the noise scan has {noise_us:g} us per sample, the image {image_us:g} us"
    remedy = "nothing, noise grows with the square root of the bandwidth"
    return scale, (_rescaled(reason, scale, remedy),)


def _averages(readouts: Readouts) -> Scale:
    """Bring the noise of one readout to that of the mean of ``n``: ``sqrt(mean of 1 / n)``.

    That is the root mean square over all acquired lines, where their numbers of averages differ.
    """
    n = n_averages_per_line(readouts)
    if n.max() == 1:
        return 1.0, ()
    scale = float(np.sqrt(np.mean(1 / n)))
    number = str(n.max()) if n.min() == n.max() else f"{n.min()} to {n.max()}"
    reason = f"the image is the mean of {number} averages per line, the noise scan that of none"
    remedy = "nothing, noise falls with the square root of the averages"
    return scale, (_rescaled(reason, scale, remedy),)


def _rescaled(reason: str, scale: float, remedy: str) -> Finding:
    message = f"{reason}: its samples were multiplied by {scale:.4g}"
    return Finding("noise-rescaled", Severity.INFO, message, remedy)
