"""NMSE, PSNR and SSIM of a magnitude image against its reference, data range always explicit.

The mean structural similarity is that of Wang 2004 (doi:10.1109/TIP.2003.819861) with a uniform
window of 7 pixels, ``K1 = 0.01`` and ``K2 = 0.03``. What a data range is, and whether the image is
scaled first, is the choice of a metric set (`mrcli.metrics.sets`), never of a function here.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from mrcli.errors import DataError, NotFinite, ShapeError

Magnitudes = NDArray[np.floating[Any]]
SSIM_WINDOW = 7


@dataclass(frozen=True)
class Quality:
    """The three numbers of one frame or one volume; `psnr_db` is inf where both are identical."""

    psnr_db: float
    ssim: float
    nmse: float


def nmse(image: Magnitudes, reference: Magnitudes) -> float:
    """Return ``|image - reference|^2 / |reference|^2``."""
    require_comparable(image, reference)
    unit = float(np.abs(reference).max())  # squares of 1e-200 would vanish
    return float(_energy((image - reference) / unit) / _energy(reference / unit))


def psnr(image: Magnitudes, reference: Magnitudes, *, data_range: float) -> float:
    """Return ``10 log10(data_range^2 / mean |image - reference|^2)`` in dB, inf if both agree."""
    require_comparable(image, reference)
    _require_range(data_range)
    reference, image = reference / data_range, image / data_range
    if mean_squared_error(reference, image) == 0:
        return math.inf
    return float(peak_signal_noise_ratio(reference, image, data_range=1.0))


def ssim(image: Magnitudes, reference: Magnitudes, *, data_range: float) -> float:
    """Return the mean structural similarity of two frames ``(y, x)``."""
    require_comparable(image, reference)
    _require_range(data_range)
    if reference.ndim != 2 or min(reference.shape) < SSIM_WINDOW:
        raise ShapeError(
            f"ssim needs a frame (y, x) of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, "
            f"got {reference.shape}"
        )
    similarity = structural_similarity(
        reference / data_range, image / data_range, data_range=1.0, win_size=SSIM_WINDOW
    )
    return float(similarity)


def least_squares_scale(image: Magnitudes, reference: Magnitudes) -> float:
    """Return the factor `a` that minimises ``|a image - reference|``."""
    require_comparable(image, reference)
    peak, unit = float(np.abs(image).max()), float(np.abs(reference).max())
    if peak == 0:
        raise DataError("the image holds only zeros: no scale brings it to its reference")
    x, y = (image / peak).astype(np.float64), (reference / unit).astype(np.float64)
    return float(np.vdot(x, y) / np.vdot(x, x)) * unit / peak


def require_comparable(image: Magnitudes, reference: Magnitudes) -> None:
    """Raise unless both are finite, of one shape, and the reference is more than a constant."""
    if image.shape != reference.shape:
        raise ShapeError(f"image of shape {image.shape}, reference of shape {reference.shape}")
    if reference.size == 0:
        raise ShapeError(f"an axis of the reference is empty: shape {reference.shape}")
    for name, values in (("image", image), ("reference", reference)):
        _require_finite(name, values)
    if reference.min() == reference.max():
        raise DataError(f"the reference is constant: {float(reference.flat[0]):g} everywhere")


def _require_finite(name: str, values: Magnitudes) -> None:
    if np.iscomplexobj(values):
        raise DataError(f"the {name} is complex, quality is measured on magnitudes")
    n_bad = int(values.size - np.isfinite(values).sum())
    if n_bad:
        raise NotFinite(f"the {name} holds {n_bad} values that are not finite of {values.size}")


def _require_range(data_range: float) -> None:
    if not (math.isfinite(data_range) and data_range > 0):
        raise DataError(f"the data range must be above 0, got {data_range:g}")


def _energy(values: Magnitudes) -> np.float64:
    return np.sum(np.square(values, dtype=np.float64))
