"""Coil sensitivity maps from the ACS: ESPIRiT.

Patches of k-space that coils with smooth sensitivities can produce span a small subspace.
Projection onto it, seen pixel by pixel, is a coil x coil matrix whose eigenvector of eigenvalue 1
is the vector of sensitivities (Uecker 2014, doi:10.1002/mrm.24751).
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Complex
from torch import Tensor

from mrcli.errors import DataError
from mrcli.physics.null_space import patch_matrix
from mrcli.types import SensitivityMaps

Calibration = Complex[Tensor, "coil acs_y acs_x"]
PatchProjection = Complex[Tensor, "coil ky kx coil ky kx"]
OffsetKernel = Complex[Tensor, "coil coil offset_y offset_x"]
PixelMatrices = Complex[Tensor, "pixel coil coil"]

KERNEL_SIZE = 6
_EIGENVALUE_IN_OBJECT = 0.8
_NOISE_MARGIN = 1.1
_SMALLEST_SINGULAR_VALUE = 0.02  # of the largest: below lie noise and what moved during the scan
# two squarings and 12 steps are a power of 48: a ratio of 0.85 of the next eigenvalue leaves 5e-4
_SQUARINGS, _POWER_ITERATIONS = 2, 12
_BYTES_PER_CHUNK = 2**22


def estimate_maps(
    calibration: Calibration, matrix: tuple[int, int], *, noise_sigma: float
) -> SensitivityMaps:
    """Return maps ``(coil, y, x)`` of unit RSS inside the object, zero outside.

    `calibration` is a fully sampled block of k-space near the origin; 24 samples per axis are
    enough. The phase of the maps is such that the image has the phase of the first
    principal coil. One coil has nothing to be compared with: its map is 1 everywhere. Raises
    `DataError` for a block smaller than the kernel needs.
    """
    n_coils = calibration.shape[0]
    if n_coils == 1:
        return torch.ones(1, *matrix, dtype=calibration.dtype, device=calibration.device)
    kernel = _kernel_shape(calibration)
    offsets = _kernel_offsets(_patch_projection(calibration, kernel, noise_sigma))
    chunks = [_dominant_coils(pixels) for pixels in _pixel_matrices(offsets, matrix)]
    maps = torch.cat(chunks).reshape(*matrix, n_coils).permute(2, 0, 1)
    return _with_phase_of_principal_coil(maps, calibration).contiguous()


def principal_coil(calibration: Calibration) -> Complex[Tensor, " coil"]:
    """Return the unit coil weights of largest energy in the calibration data."""
    samples = calibration.flatten(1)
    return torch.linalg.eigh(samples @ samples.mH).eigenvectors[:, -1]


def _kernel_shape(block: Calibration) -> tuple[int, int]:
    n_y, n_x = block.shape[-2:]
    kernel = min(KERNEL_SIZE, (n_y + 1) // 2), min(KERNEL_SIZE, (n_x + 1) // 2)
    n_patches = (n_y - kernel[0] + 1) * (n_x - kernel[1] + 1)
    if min(n_y, n_x) < 4 or n_patches < block.shape[0]:
        raise DataError(
            f"the fully sampled center of {n_y} x {n_x} samples is too small to calibrate "
            f"{block.shape[0]} coils",
            hint="acquire more ACS lines, or reconstruct without coil maps",
        )
    return kernel


def _patch_projection(
    block: Calibration, kernel: tuple[int, int], noise_sigma: float
) -> PatchProjection:
    """Return the projection onto the patches that are not noise."""
    columns = patch_matrix(block, kernel)
    power, vectors = torch.linalg.eigh(columns @ columns.mH)
    kept = vectors[:, power > _noise_power(columns, noise_sigma, float(power[-1]))]
    return (kept @ kept.mH).reshape(2 * (block.shape[0], *kernel)).to(block.dtype)


def _noise_power(columns: Tensor, noise_sigma: float, largest: float) -> float:
    # The largest singular value of an m x n matrix of noise is sigma (sqrt(m) + sqrt(n))
    # (Marchenko and Pastur 1967, doi:10.1070/SM1967v001n04ABEH001994).
    edge = _NOISE_MARGIN * noise_sigma * sum(math.sqrt(n) for n in columns.shape)
    return min(max(edge**2, _SMALLEST_SINGULAR_VALUE**2 * largest), 0.5 * largest)


def _kernel_offsets(projection: PatchProjection) -> OffsetKernel:
    """Sum the projection over all pairs of patch positions with the same offset ``p - p'``."""
    n_coils, k_y, k_x = projection.shape[:3]
    offsets = projection.new_zeros(n_coils, n_coils, 2 * k_y - 1, 2 * k_x - 1)
    for y in range(k_y):
        for x in range(k_x):  # p = (y, x); p' runs over the patch, so p - p' runs backwards
            offsets[:, :, y : y + k_y, x : x + k_x] += projection[:, y, x].flip(-2, -1)
    return offsets / (k_y * k_x)


def _pixel_matrices(offsets: OffsetKernel, matrix: tuple[int, int]) -> Iterator[PixelMatrices]:
    """Yield ``G(r) = sum_d w(d) exp(2 pi i d r / n)`` for some rows of pixels at a time."""
    wave_y, wave_x = (
        _waves(n, size, offsets) for n, size in zip(matrix, offsets.shape[-2:], strict=True)
    )
    along_x = torch.einsum("cdyo,xo->yxcd", offsets, wave_x)
    n_rows = max(1, _BYTES_PER_CHUNK // (along_x[0].numel() * along_x.element_size()))
    for rows in torch.split(wave_y, n_rows):
        yield (rows @ along_x.flatten(1)).reshape(-1, *along_x.shape[-2:])


def _waves(n: int, n_offsets: int, like: Tensor) -> Complex[Tensor, "position offset"]:
    position = torch.arange(n, dtype=torch.float64) - n // 2
    offset = torch.arange(n_offsets, dtype=torch.float64) - n_offsets // 2
    waves = torch.exp(2j * torch.pi * torch.outer(position, offset) / n)
    return waves.to(dtype=like.dtype, device=like.device)


def _dominant_coils(pixels: PixelMatrices) -> Complex[Tensor, "pixel coil"]:
    """Return the eigenvector of the largest eigenvalue, zero where that is not near 1."""
    power = pixels
    for _ in range(_SQUARINGS):
        power = power @ power
    vector = power.sum(-1, keepdim=True)
    for _ in range(_POWER_ITERATIONS):
        vector = power @ _unit(vector)
    image = pixels @ _unit(vector)
    is_inside = image.norm(dim=-2, keepdim=True) > _EIGENVALUE_IN_OBJECT
    return (_unit(vector) * is_inside).squeeze(-1)


def _unit(vector: Tensor) -> Tensor:
    norm = vector.norm(dim=-2, keepdim=True)
    return torch.where(norm > 0, vector / norm, 0)


def _with_phase_of_principal_coil(maps: SensitivityMaps, block: Calibration) -> SensitivityMaps:
    phase = torch.einsum("c,cyx->yx", principal_coil(block).conj(), maps).sgn()
    return maps * torch.where(phase == 0, 1, phase).conj()
