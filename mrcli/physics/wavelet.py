"""Orthonormal wavelets of images, for sparsity.

Daubechies' wavelet of two vanishing moments, periodic (Daubechies 1988, doi:10.1002/cpa.3160410705;
pyramid after Mallat 1989, doi:10.1109/34.192463).
"""

import math

import torch
from jaxtyping import Complex
from torch import Tensor

from mrcli.types import Image

_ROOT = math.sqrt(3)
_LOW = tuple(v / (4 * math.sqrt(2)) for v in (1 + _ROOT, 3 + _ROOT, 3 - _ROOT, 1 - _ROOT))
_HIGH = (_LOW[3], -_LOW[2], _LOW[1], -_LOW[0])

N_LEVELS = 4

Band = Complex[Tensor, "*band_batch band_y band_x"]


def shrink(coefficients: Tensor, threshold: Tensor | float) -> Tensor:
    """Return ``w max(0, 1 - t / |w|)``, the proximal map of ``t |w|``."""
    magnitude = coefficients.abs()
    kept = torch.where(magnitude > threshold, 1 - threshold / magnitude, 0)
    return coefficients * kept


def shrink_wavelets(image: Image, threshold: Tensor | float, shift: tuple[int, int]) -> Image:
    """Shrink the detail coefficients of the image, whose borders wrap around, moved by `shift`.

    Any size works: the image is filled up with zeros to a multiple of ``2**levels``. Different
    shifts in turn remove the wavelets' preference for positions
    (Coifman and Donoho 1995, doi:10.1007/978-1-4612-2544-7_9).
    """
    n_y, n_x = image.shape[-2:]
    block = 2**N_LEVELS
    filled = torch.nn.functional.pad(image, (0, -n_x % block, 0, -n_y % block))
    moved = _shrink_level(filled.roll(shift, (-2, -1)), threshold, N_LEVELS)
    return moved.roll((-shift[0], -shift[1]), (-2, -1))[..., :n_y, :n_x]


def _shrink_level(image: Image, threshold: Tensor | float, level: int) -> Image:
    if level == 0:
        return image
    low, high = _split(image, -1)
    low_low, low_high = _split(low, -2)
    low = _merge(_shrink_level(low_low, threshold, level - 1), shrink(low_high, threshold), -2)
    high_low, high_high = _split(high, -2)
    high = _merge(shrink(high_low, threshold), shrink(high_high, threshold), -2)
    return _merge(low, high, -1)


def _split(image: Image, axis: int) -> tuple[Band, Band]:
    """Return the low and high half of the band along `axis`, each at half the samples."""
    even, odd = torch.unflatten(image, axis, (-1, 2)).unbind(axis)
    taps = (even, odd, even.roll(-1, axis), odd.roll(-1, axis))
    return _filter(_LOW, taps), _filter(_HIGH, taps)


def _filter(weights: tuple[float, ...], taps: tuple[Tensor, ...]) -> Tensor:
    return weights[0] * taps[0] + weights[1] * taps[1] + weights[2] * taps[2] + weights[3] * taps[3]


def _merge(low: Band, high: Band, axis: int) -> Image:
    """Undo `_split`: its transpose, since the wavelets are orthonormal."""
    even = _LOW[0] * low + _HIGH[0] * high + (_LOW[2] * low + _HIGH[2] * high).roll(1, axis)
    odd = _LOW[1] * low + _HIGH[1] * high + (_LOW[3] * low + _HIGH[3] * high).roll(1, axis)
    return torch.stack((even, odd), dim=axis).flatten(axis - 1, axis)
