"""Noise beside the signal of a fully sampled block: where coils and object cannot be.

Small patches of the k-space of several coils span few dimensions (`mrcli.physics.sensitivity`);
what the patches hold in all others is noise. Of spokes, whose outermost samples hold signal, this
is the only place without any.
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Complex
from torch import Tensor

PatchMatrix = Complex[Tensor, "element patch"]
CoilBlock = Complex[Tensor, "coil acs_y acs_x"]

_KERNEL = 5  # samples per axis of a patch
_SHARE = 0.1  # of all dimensions: the quietest ones
_LEAST_POWER = 1e-12  # of the block's mean: single precision ends there
_SEED = 0


def patch_matrix(block: CoilBlock, kernel: tuple[int, int]) -> PatchMatrix:
    """Return all patches of all coils as columns, in double precision.

    Powers span the square of what amplitudes span.
    """
    patches = block.unfold(-2, kernel[0], 1).unfold(-2, kernel[1], 1)
    columns = patches.permute(0, 3, 4, 1, 2).reshape(block.shape[0] * math.prod(kernel), -1)
    return columns.to(torch.complex128)


def sigma_beside_signal(block: CoilBlock) -> float:
    """Estimate sigma from the quietest dimensions of the patches; 0 where there are none.

    The same numbers from white noise of the same shape give the ratio, so that neither the spread
    of eigenvalues nor the overlap of patches matters. Coils count as equally noisy. One coil alone
    is seldom redundant, and a block below 10 x 10 samples has too few patches.
    """
    n_coils, n_y, n_x = block.shape
    if n_coils == 1 or min(n_y, n_x) < 2 * _KERNEL:
        return 0.0
    power = _quietest_power(block)
    if power <= _LEAST_POWER * float(block.abs().double().square().mean()):
        return 0.0
    return math.sqrt(power / _quietest_power_of_noise(n_coils, n_y, n_x))


def _quietest_power(block: CoilBlock) -> float:
    columns = patch_matrix(block, (_KERNEL, _KERNEL))
    if len(columns) > columns.shape[1]:  # the same eigenvalues, less the zeros
        columns = columns.mH
    powers = torch.linalg.eigvalsh(columns @ columns.mH)
    return float(powers[: math.ceil(_SHARE * len(powers))].mean())


@lru_cache(maxsize=64)
def _quietest_power_of_noise(n_coils: int, n_y: int, n_x: int) -> float:
    random = torch.Generator().manual_seed(_SEED)
    noise = torch.randn(n_coils, n_y, n_x, dtype=torch.complex128, generator=random)
    return _quietest_power(noise)
