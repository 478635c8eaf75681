"""Noise: covariance, whitening and the estimate of its level."""

import math

import pytest
import torch
from torch.testing import assert_close

from mrcli.physics.encoding import fft2c
from mrcli.physics.noise import (
    apply_to_coils,
    equalizing_matrix,
    estimate_noise_sigma,
    noise_covariance,
    whitening_matrix,
)

MIXING = torch.tensor([[2, 0, 0], [1j, 1, 0], [0.5, -0.5j, 3]], dtype=torch.complex128)


def gaussian(*shape, seed=0):
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def test_the_covariance_of_mixed_white_noise_is_the_mixing_times_its_adjoint():
    n_samples = 100_000
    covariance = noise_covariance(MIXING @ gaussian(3, n_samples))
    expected = MIXING @ MIXING.mH
    assert float((covariance - expected).norm() / expected.norm()) < 3 / math.sqrt(n_samples) * 3


def test_whitening_is_the_inverse_of_the_triangular_mixing():
    whitening = whitening_matrix(MIXING @ MIXING.mH)
    assert_close(whitening @ MIXING, torch.eye(3, dtype=torch.complex128), rtol=0, atol=1e-12)


def test_mixing_of_coils_acts_on_every_sample_alike():
    kspace = gaussian(2, 3, 4, 5)
    mixed = apply_to_coils(MIXING, kspace)
    assert_close(mixed[1, :, 2, 3], MIXING @ kspace[1, :, 2, 3], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("defect", ["silent", "copy", "sum"])
def test_coils_without_noise_of_their_own_cannot_be_whitened(defect, dtype):
    noise = gaussian(3, 500).to(dtype)
    noise[2] = {"silent": 0 * noise[0], "copy": noise[0], "sum": noise[0] - noise[1]}[defect]
    assert whitening_matrix(noise_covariance(noise.to(torch.complex128))) is None


def test_equalizing_gives_every_coil_the_same_noise_and_takes_silent_ones_for_average():
    covariance = torch.diag(torch.tensor([4.0, 0.0, 0.25])).to(torch.complex128)
    matrix = equalizing_matrix(covariance)
    average = ((4 + 0.25) / 2) ** -0.5
    assert_close(matrix.diagonal().real, torch.tensor([0.5, average, 2]).double())


def test_a_frame_of_zeros_in_the_middle_does_not_hide_the_noise():
    kspace = 0.01 * gaussian(3, 4, 96, 128)
    kspace[1] = 0
    everywhere = torch.ones(1, 1, 96, 1, dtype=torch.bool)
    assert estimate_noise_sigma(kspace, everywhere) == pytest.approx(0.01, rel=0.1)


def disk(n_y, n_x, radius=0.3):
    y, x = (torch.arange(n).double() / n - 0.5 for n in (n_y, n_x))
    inside = torch.hypot(y[:, None], x[None, :]) < radius
    return inside.to(torch.complex128)


@pytest.mark.parametrize("matrix", [(96, 128), (97, 131)])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_sigma_is_found_beside_a_bright_object_at_every_scale(matrix, scale):
    sigma = 0.01
    kspace = fft2c(disk(*matrix).expand(2, 4, *matrix)) + sigma * gaussian(2, 4, *matrix)
    everywhere = torch.ones(1, 1, matrix[0], 1, dtype=torch.bool)
    assert estimate_noise_sigma(scale * kspace, everywhere) / scale == pytest.approx(0.01, rel=0.08)


def test_samples_that_were_not_acquired_do_not_lower_sigma():
    kspace = 0.01 * gaussian(1, 4, 96, 128)
    mask = (torch.arange(96) % 4 == 0).view(1, 1, 96, 1)
    assert estimate_noise_sigma(kspace * mask, mask) == pytest.approx(0.01, rel=0.1)


def test_zero_filled_margins_do_not_lower_sigma():
    kspace = 0.01 * gaussian(1, 4, 96, 128)
    kspace[..., :20, :] = 0
    kspace[..., -24:] = 0
    everywhere = torch.ones(1, 1, 96, 1, dtype=torch.bool)
    assert estimate_noise_sigma(kspace, everywhere) == pytest.approx(0.01, rel=0.1)


def test_air_beside_the_object_shows_the_noise_through_zero_filled_margins():
    """Signal fills the corners of k-space: only the air tells, in which margins lower the noise."""
    k_x = torch.arange(128).double() - 64
    line = torch.exp(-(k_x**2) / (2 * 13**2)).expand(1, 4, 96, 128)
    kspace = line + 0.01 * gaussian(1, 4, 96, 128)
    kspace[..., :32] = 0
    kspace[..., 96:] = 0
    everywhere = torch.ones(1, 1, 96, 1, dtype=torch.bool)
    assert estimate_noise_sigma(kspace, everywhere) == pytest.approx(0.01, rel=0.15)


def test_a_mask_of_points_takes_the_corners_of_k_space():
    kspace = 0.01 * gaussian(1, 4, 96, 128)
    mask = gaussian(1, 1, 96, 128, seed=5).real > 0.5
    assert estimate_noise_sigma(kspace * mask, mask) == pytest.approx(0.01, rel=0.1)


def test_corners_without_a_sample_leave_it_to_the_calibration():
    """Of two crossed lines and an ACS no corner is sampled: what no coil can make tells."""
    kspace = 0.01 * gaussian(1, 4, 96, 128)
    mask = torch.zeros(1, 1, 96, 128, dtype=torch.bool)
    mask[..., 48, :] = mask[..., 64] = mask[..., 36:60, 52:76] = True
    assert estimate_noise_sigma(kspace * mask, mask) == pytest.approx(0.01, rel=0.1)


def test_a_dead_coil_does_not_lower_sigma():
    kspace = 0.01 * gaussian(1, 4, 96, 128)
    kspace[:, 1] = 0
    everywhere = torch.ones(1, 1, 96, 1, dtype=torch.bool)
    assert estimate_noise_sigma(kspace, everywhere) == pytest.approx(0.01, rel=0.1)


def test_k_space_of_zeros_has_no_noise():
    nothing = torch.zeros(1, 2, 8, 8, dtype=torch.complex64)
    assert estimate_noise_sigma(nothing, torch.ones(1, 1, 8, 1, dtype=torch.bool)) == 0
