"""From an object to its measured k-space: the finite matrix, beats that differ, noise.

The truth of a simulated scan is the object as this matrix, and this vendor's filter, can show it,
with the brightness of the coils: ``y = M (F S x + n)`` holds exactly for it, with maps of unit RSS.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Generator, Tensor

from mrcli.physics.encoding import expand_coils, fft2c, ifft2c
from mrcli.simulate.planes import Grid
from mrcli.types import CoilMatrix, Image, KSpace, SensitivityMaps

FineImage = Complex[Tensor, "*batch fine_y fine_x"]
Window = Float[Tensor, " n"]
Windows = tuple[Float[Tensor, " n_y"], Float[Tensor, " n_x"]]
Beats = Float[Tensor, " beat"]


@dataclass(frozen=True)
class KSpaceFilter:
    """What a vendor does to k-space before it is stored."""

    phase_resolution: float = 1.0  # share of the lines that is measured; the rest is zero filling
    roll_off: float = 0.0  # share of the half width that a cosine edge takes, in both directions


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class BeatErrors:
    """What is wrong with each heart beat of a segmented scan."""

    shift_mm: Beats  # of the body along the head, by breathing
    frame_error: Int[Tensor, " beat"]  # how many frames late the trigger came


def band_limited(fine: FineImage, matrix: Grid) -> Image:
    """Return the object as a matrix of this size shows it: the center of its k-space."""
    kspace = fft2c(fine)
    for axis, n in zip((-2, -1), matrix, strict=True):
        kspace = kspace.narrow(axis, kspace.shape[axis] // 2 - n // 2, n)
    share = math.prod(matrix) / math.prod(fine.shape[-2:])
    return ifft2c(kspace) * math.sqrt(share)


def filter_windows(one: KSpaceFilter, matrix: Grid) -> Windows:
    """Return the weights along y and x, 0 where nothing is measured."""
    y = _rolled_off(matrix[0], one.phase_resolution, one.roll_off)
    return y, _rolled_off(matrix[1], 1.0, one.roll_off)


def _rolled_off(n: int, share: float, roll_off: float) -> Window:
    """Return a Tukey window over the central `share` of `n` samples."""
    k = torch.arange(n, dtype=torch.float32) - n // 2
    n_kept = max(1, round(share * n))
    is_kept = (k >= -(n_kept // 2)) & (k < n_kept - n_kept // 2)
    if roll_off == 0:
        return is_kept.float()
    edge = (k.abs() / ((n_kept + 1) / 2) - (1 - roll_off)) / roll_off  # 0 is reached outside
    return is_kept * (0.5 + 0.5 * torch.cos(math.pi * edge.clamp(0, 1)))


def apply_windows(kspace: KSpace, windows: Windows) -> KSpace:
    """Weight k-space along y and x."""
    y, x = (window.to(kspace.device) for window in windows)
    return kspace * y[:, None] * x


def split_shading(image: Image, coils: SensitivityMaps) -> tuple[Image, SensitivityMaps]:
    """Return the image with the brightness of the coils, and maps of unit RSS.

    Where no coil sees anything the maps are 0.
    """
    rss = coils.abs().square().sum(0).sqrt()
    maps = torch.where(rss > 0, coils / rss, torch.zeros((), dtype=coils.dtype))
    return image * rss, maps


def encode(truth: Image, maps: SensitivityMaps) -> KSpace:
    """Return noiseless k-space ``F S x``, frame by frame since coils are many."""
    return torch.stack([fft2c(expand_coils(frame, maps)) for frame in truth])


def disturb(
    kspace: KSpace, errors: BeatErrors, moves_mm: tuple[float, float], fov_mm: tuple[float, float]
) -> KSpace:
    """Return k-space ``(frame, coil, y, x)`` whose lines were measured in beats that differ.

    Line `y` belongs to beat ``y mod n``. A shift of `d` millimetres is a phase ``exp(-2 pi i k d /
    FOV)``; `moves_mm` is how far the slice moves along y and x per millimetre of the body. Coils
    are taken to move along, which errs by the little that maps change over a few millimetres.
    """
    n_y, n_x = kspace.shape[-2:]
    ky, kx = (torch.arange(n, device=kspace.device) - n // 2 for n in (n_y, n_x))
    disturbed = torch.empty_like(kspace)
    for beat, (shift, late) in enumerate(
        zip(errors.shift_mm.tolist(), errors.frame_error.tolist(), strict=True)
    ):
        lines = slice(beat, None, len(errors.shift_mm))
        turns = -shift * (
            ky[lines, None] * (moves_mm[0] / fov_mm[0]) + kx * (moves_mm[1] / fov_mm[1])
        )
        phase = torch.polar(torch.ones_like(turns), 2 * math.pi * turns)
        disturbed[..., lines, :] = kspace.roll(-late, 0)[..., lines, :] * phase
    return disturbed


def draw_noise(
    shape: tuple[int, ...], covariance: CoilMatrix, random: Generator
) -> Complex[Tensor, "... coil y x"]:
    """Draw noise ``(..., coil, y, x)`` whose coils have this covariance."""
    device = random.device
    white = torch.randn(shape, dtype=torch.complex64, generator=random, device=device)
    return torch.einsum("dc,...cyx->...dyx", cholesky_factor(covariance).to(white), white)


def draw_noise_scan(
    n_samples: int, covariance: CoilMatrix, random: Generator
) -> Complex[Tensor, "coil sample"]:
    """Draw a noise scan."""
    noise = draw_noise((len(covariance), 1, n_samples), covariance, random)
    return noise[:, 0]


def cholesky_factor(covariance: CoilMatrix) -> CoilMatrix:
    """Return `L` of ``C = L L^H``."""
    return torch.linalg.cholesky(covariance.to(torch.complex128))
