"""What training makes small.

The error is taken in decibels, so that a clean scan counts as much as a noisy one, and scales of
scanners play no part. Structure is multi-scale SSIM of magnitudes; the frequency term looks at
rings of k-space. Weights are per protocol (`docs/adr/0008` has what each term is worth).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mrcli.physics.encoding import fft2c
from mrcli.types import Image, Magnitude

Scalar = Float[Tensor, ""]

_SCALES = 4  # of the structure: 1, 2, 4, 8 pixels
_WINDOW = 7
_K1, _K2 = 0.01, 0.03  # of the range (Wang 2004, doi:10.1109/TIP.2003.819861)
_N_RINGS = 12
_DECIBELS = 10 / math.log(10)


@dataclass(frozen=True)
class LossWeights:
    """How much each term counts."""

    error: float = 1.0  # per decibel of the complex image
    magnitude: float = 1.0  # per decibel of its magnitude
    structure: float = 10.0
    frequency: float = 0.0


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Loss:
    """The terms of one sample and their weighted sum."""

    total: Scalar
    terms: Mapping[str, float]


def loss_of(image: Image, target: Image, weights: LossWeights) -> Loss:
    """Return the loss of ``(frame, y, x)``; frames without signal do not count."""
    has_signal = target.abs().amax((-2, -1)) > 0
    if not bool(has_signal.any()):
        zero = image.abs().sum() * 0
        return Loss(zero, {})
    image, target = image[has_signal], target[has_signal]
    terms: dict[str, tuple[float, Callable[[], Scalar]]] = {
        "error": (weights.error, lambda: decibels(image, target)),
        "magnitude": (weights.magnitude, lambda: decibels(image.abs(), target.abs())),
        "structure": (weights.structure, lambda: 1 - multi_scale_ssim(image.abs(), target.abs())),
        "frequency": (weights.frequency, lambda: ring_error(image, target)),
    }
    values: dict[str, tuple[float, Scalar]] = {
        name: (weight, term()) for name, (weight, term) in terms.items() if weight > 0
    }
    total = sum((weight * value for weight, value in values.values()), torch.zeros(()))
    return Loss(total, {name: float(value.detach()) for name, (_, value) in values.items()})


def decibels(image: Image | Magnitude, target: Image | Magnitude) -> Scalar:
    """Return ``10 log10 (|x - t|^2 / |t|^2)``, the mean over frames."""
    error = (image - target).abs().square().sum((-2, -1))
    power = target.abs().square().sum((-2, -1))
    floor = torch.finfo(error.dtype).eps * power  # relative to the signal: an exact image is finite
    return _DECIBELS * ((error + floor) / power).log().mean()


def multi_scale_ssim(image: Magnitude, target: Magnitude) -> Scalar:
    """Return the mean SSIM over scales and frames, each frame in units of its target's maximum.

    Scales too small for the window are left out (Wang 2003, doi:10.1109/ACSSC.2003.1292216, there
    as a product; here as a mean, which has a gradient where one scale fails).
    """
    peak = target.amax((-2, -1), keepdim=True)
    image, target = (image / peak).unsqueeze(1), (target / peak).unsqueeze(1)
    values = []
    for _ in range(_SCALES):
        if min(image.shape[-2:]) < _WINDOW:
            break
        values.append(_ssim(image, target))
        image, target = (functional.avg_pool2d(one, 2, ceil_mode=True) for one in (image, target))
    return torch.stack(values).mean()


def _ssim(image: Tensor, target: Tensor) -> Scalar:
    def mean(one: Tensor) -> Tensor:
        return functional.avg_pool2d(one, _WINDOW, stride=1)

    mean_x, mean_t = mean(image), mean(target)
    variances = mean(image**2) - mean_x**2 + mean(target**2) - mean_t**2
    covariance = mean(image * target) - mean_x * mean_t
    luminance = (2 * mean_x * mean_t + _K1**2) / (mean_x**2 + mean_t**2 + _K1**2)
    return (luminance * (2 * covariance + _K2**2) / (variances + _K2**2)).mean()


def ring_error(image: Image, target: Image) -> Scalar:
    """Return the relative error of k-space, ring by ring: fine detail counts as much as coarse.

    Relative to the target's own energy in the ring, in decibels, the mean over rings and frames.
    """
    error, power = (fft2c(one).abs().square() for one in (image - target, target))
    rings = _rings(target.shape[-2], target.shape[-1]).to(power.device)
    by_ring = [one.flatten(1) @ rings.to(one) for one in (error, power)]
    floor = torch.finfo(power.dtype).eps * by_ring[1].sum(-1, keepdim=True)
    return _DECIBELS * ((by_ring[0] + floor) / (by_ring[1] + floor)).log().mean()


def _rings(n_y: int, n_x: int) -> Float[Tensor, "sample ring"]:
    y, x = ((torch.arange(n) - n // 2) / n for n in (n_y, n_x))
    radius = 2 * (y[:, None] ** 2 + x**2).sqrt().flatten()
    index = (radius * _N_RINGS).long()
    return functional.one_hot(index, int(index.amax()) + 1)[:, :_N_RINGS].float()
