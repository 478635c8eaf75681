"""Noise beside the signal: white noise alone, coils that share an object, and what is no noise."""

import math

import pytest
import torch
from torch.testing import assert_close

from mrcli.physics.calibration import CALIBRATION_SAMPLES, calibration_block
from mrcli.physics.encoding import fft2c
from mrcli.physics.noise import estimate_noise_sigma
from mrcli.physics.null_space import patch_matrix, sigma_beside_signal
from mrcli.physics.spokes import kt_radial_spokes

MATRIX = (64, 72)


def gaussian(*shape, seed=0):
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def coils_around_a_disk(n_coils, sharpness=0.02):
    """Return k-space of a disk with fine detail everywhere, seen by smooth coils around it."""
    y, x = (torch.arange(n).double() / n - 0.5 for n in MATRIX)
    y, x = y[:, None], x[None, :]
    disk = torch.sigmoid((0.3 - torch.hypot(y, x)) / sharpness)
    detail = 1 + 0.5 * torch.rand(MATRIX, generator=torch.Generator().manual_seed(1)).double()
    angles = [2 * math.pi * coil / n_coils for coil in range(n_coils)]
    maps = [1 / (0.3 + (x - math.cos(a)) ** 2 + (y - math.sin(a)) ** 2) for a in angles]
    return fft2c(torch.stack(maps) * disk * detail + 0j)


def test_patches_are_columns_coil_by_coil():
    block = gaussian(2, 5, 4)
    columns = patch_matrix(block, (3, 2))
    assert columns.shape == (2 * 3 * 2, 3 * 3)
    assert_close(columns[:, 4], block[:, 1:4, 1:3].flatten())


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("shape", [(2, 24, 24), (8, 20, 24), (34, 20, 20), (5, 13, 10)])
def test_of_white_noise_sigma_is_found_at_every_shape_and_scale(shape, scale):
    noise = 0.7 * scale * gaussian(*shape, seed=3)
    assert sigma_beside_signal(noise) == pytest.approx(0.7 * scale, rel=0.1)


@pytest.mark.parametrize("n_coils", [6, 10])
def test_signal_that_coils_share_hides_no_noise(n_coils):
    clean = coils_around_a_disk(n_coils)
    sigma = 1e-3 * float(clean.abs().amax())
    block = (clean + sigma * gaussian(*clean.shape))[:, 22:42, 26:46]
    assert sigma_beside_signal(block) == pytest.approx(sigma, rel=0.3)


@pytest.mark.parametrize("shape", [(1, 24, 24), (4, 9, 24), (4, 24, 9)])
def test_one_coil_or_a_small_block_tells_nothing(shape):
    assert sigma_beside_signal(gaussian(*shape)) == 0


def test_coils_that_are_copies_tell_nothing():
    one = gaussian(1, 20, 20).to(torch.complex64)
    assert sigma_beside_signal(torch.cat([one, one, one])) == 0


def test_spokes_whose_ends_hold_signal_do_not_raise_sigma():
    """At the ends of spokes fine detail is ten times the noise."""
    clean = coils_around_a_disk(8)[None]
    edge = float(clean[..., :8, :8].abs().square().mean().sqrt())
    mask = kt_radial_spokes(1, MATRIX, 4, 20)
    sigma = 0.1 * edge
    kspace = (clean + sigma * gaussian(*clean.shape)) * mask
    assert estimate_noise_sigma(kspace, mask) == pytest.approx(sigma, rel=0.3)


def test_a_quiet_coil_is_not_taken_for_the_noise_of_all():
    kspace = gaussian(1, 6, 64, 64)
    kspace[:, 2] *= 0.01
    everywhere = torch.ones(1, 1, 64, 1, dtype=torch.bool)
    assert estimate_noise_sigma(kspace, everywhere) == pytest.approx((5 / 6) ** 0.5, rel=0.1)


@pytest.mark.parametrize("n", [40, 41])
def test_the_block_is_the_part_of_the_acs_around_the_origin(n):
    everywhere = torch.ones(1, 1, n, 1, dtype=torch.bool)
    y, x = calibration_block(everywhere, (n, 50))
    half = CALIBRATION_SAMPLES // 2
    assert (y.start, y.stop) == (n // 2 - half, n // 2 + half)
    assert (x.start, x.stop) == (25 - half, 25 + half)


def test_without_an_acs_there_is_no_block():
    lines = (torch.arange(40) % 4 == 0).reshape(1, 1, 40, 1)
    assert calibration_block(lines, (40, 40)) is None
