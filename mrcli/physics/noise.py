"""Noise of the receive coils: level, covariance, whitening.

The level `sigma` is ``sqrt(E |n|^2)`` of one complex sample of k-space; unitary transforms keep it.
"""

import math

import torch
from jaxtyping import Bool, Complex, Int
from torch import Tensor

from mrcli.physics.calibration import calibration_block
from mrcli.physics.encoding import ifftc, is_constant_along_readout
from mrcli.physics.null_space import sigma_beside_signal
from mrcli.types import CoilImages, CoilMatrix, KSpace, NoiseSamples, SamplingMask

EdgeSamples = Complex[Tensor, "coil edge_y edge_x"]
Frame = Complex[Tensor, "coil y x"]
FrameMask = Bool[Tensor, "own_frame 1 y readout"]

_LEAST_OWN_NOISE = 1e-6  # of the power of a coil: what a copy rounded to single precision has
_EDGE_OF_READOUT = 1 / 8  # of the sampled extent, on either side
_EDGE_OF_PHASE_ENCODE = 1 / 4
_EDGE_OF_FIELD_OF_VIEW = 1 / 16
_QUIET_COIL = 0.5  # of the median coil's noise: it would be taken for the noise of all


def noise_covariance(noise: NoiseSamples) -> CoilMatrix:
    """Return ``E n n^H`` over the samples of a noise scan."""
    return noise @ noise.mH / noise.shape[1]


def whitening_matrix(covariance: CoilMatrix) -> CoilMatrix | None:
    """Return ``L^-1`` for ``C = L L^H``: it makes noise of covariance `C` uncorrelated, sigma 1.

    None where the noise of some coils is made of that of others: no coil may be silent or a copy.
    """
    level = covariance.diagonal().real.sqrt()
    correlation = covariance / torch.outer(level, level)
    if not bool((level > 0).all()) or _smallest_eigenvalue(correlation) < _LEAST_OWN_NOISE:
        return None
    factor = torch.linalg.cholesky(covariance)
    identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    return torch.linalg.solve_triangular(factor, identity, upper=False)


def equalizing_matrix(covariance: CoilMatrix) -> CoilMatrix:
    """Return the diagonal matrix that gives every coil sigma 1; silent ones count as average."""
    power = covariance.diagonal().real
    power = torch.where(power > 0, power, power[power > 0].mean())
    return power.rsqrt().to(covariance.dtype).diag()


def _smallest_eigenvalue(matrix: CoilMatrix) -> float:
    return float(torch.linalg.eigvalsh(matrix)[0])


def apply_to_coils(matrix: CoilMatrix, kspace: KSpace) -> KSpace:
    """Mix the coils of every sample with `matrix`."""
    return torch.einsum("dc,...cyx->...dyx", matrix, kspace)


def estimate_noise_sigma(kspace: KSpace, mask: SamplingMask) -> float:
    """Estimate sigma of ``(frame, coil, y, x)`` data without a noise scan.

    Three places hold little but noise: the corners of sampled k-space; for whole lines, the edges
    of the field of view along the readout, where there is air; where there are coils and an ACS,
    what no coil can make (`mrcli.physics.null_space`). Signal can only add, so the smallest
    estimate is the best one; all are upper bounds. The power of complex Gaussian noise is
    exponential with mean ``sigma^2`` and median ``sigma^2 ln 2``: a median per coil ignores what
    signal there is. Exact zeros are fill, not noise.
    """
    samples, own_mask = _middle_frame(kspace, mask)
    estimates = [_sigma(_corners(samples)), _sigma_of_calibration(samples, own_mask)]
    if is_constant_along_readout(mask):
        estimates.append(_sigma(_edges_of_field_of_view(samples)))
    return min((sigma for sigma in estimates if sigma > 0), default=0.0)


def _middle_frame(kspace: KSpace, mask: SamplingMask) -> tuple[Frame, FrameMask]:
    """Return the samples of the frame nearest the middle that has any, and its mask."""
    frames = sorted(range(len(kspace)), key=lambda frame: abs(frame - len(kspace) // 2))
    for frame in frames:
        own = frame if len(mask) > 1 else 0
        samples = kspace[frame] * mask[own]
        if bool(samples.any()):
            break
    return samples, mask[own : own + 1]


def _sigma_of_calibration(samples: Frame, mask: FrameMask) -> float:
    """Return sigma by the ACS of those coils that are not clearly quieter than the others."""
    block = calibration_block(mask, (samples.shape[-2], samples.shape[-1]))
    if block is None:
        return 0.0
    own = samples[:, block[0], block[1]]
    levels = torch.tensor([_median_power(coil) for coil in _corners(samples)])
    is_heard = levels >= _QUIET_COIL**2 * levels.median()  # all, where corners hold no sample
    return sigma_beside_signal(own[is_heard])


def _corners(samples: CoilImages) -> EdgeSamples:
    sampled = samples.abs().amax(0) > 0
    rows = _edges(sampled.any(-1), _EDGE_OF_PHASE_ENCODE)
    columns = _edges(sampled.any(-2), _EDGE_OF_READOUT)
    return samples[..., rows, :][..., columns]


def _edges_of_field_of_view(samples: CoilImages) -> EdgeSamples:
    """Return the edge pixels of each line, scaled to the noise of one sample of k-space."""
    filled = (samples != 0).float().sum(-1, keepdim=True) / samples.shape[-1]
    lines = ifftc(samples, (-1,)) * torch.where(filled > 0, filled.rsqrt(), 0)
    everywhere = torch.ones(lines.shape[-1], dtype=torch.bool, device=lines.device)
    return lines[..., _edges(everywhere, _EDGE_OF_FIELD_OF_VIEW)]


def _edges(sampled: Bool[Tensor, " n"], fraction: float) -> Int[Tensor, " edge"]:
    """Return the indices of the outer `fraction` of the sampled extent, on either side."""
    indices = sampled.nonzero().flatten()
    width = max(1, round(len(indices) * fraction))
    return torch.cat([indices[:width], indices[width:][-width:]])


def _sigma(samples: EdgeSamples) -> float:
    powers = [_median_power(coil) for coil in samples]
    heard = [power for power in powers if power > 0]  # a dead coil has no noise to average
    return math.sqrt(sum(heard) / len(heard)) if heard else 0.0


def _median_power(samples: Complex[Tensor, "y x"]) -> float:
    power = samples.abs().double().square()
    power = power[power > 0]
    return float(power.median()) / math.log(2) if len(power) else 0.0
