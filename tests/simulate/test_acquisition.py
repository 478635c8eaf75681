"""From an object to k-space: the finite matrix, filters, beats that differ, noise."""

import math

import pytest
import torch
from torch.testing import assert_close

from mrcli.physics.encoding import fft2c, ifft2c
from mrcli.physics.noise import noise_covariance
from mrcli.simulate.acquisition import (
    BeatErrors,
    KSpaceFilter,
    apply_windows,
    band_limited,
    cholesky_factor,
    disturb,
    draw_noise,
    draw_noise_scan,
    encode,
    filter_windows,
    split_shading,
)

EXACT = {"rtol": 0, "atol": 1e-12}
for_every_matrix = pytest.mark.parametrize("matrix", [(12, 16), (13, 16), (13, 17), (16, 13)])


def gaussian(*shape, seed=0):
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def plane_wave(grid, cycles):
    """Return a wave of `cycles` per field of view; finer grids share the place of the origin."""
    y, x = ((torch.arange(n).double() - n // 2) / n for n in grid)
    return torch.exp(2j * torch.pi * (cycles[0] * y[:, None] + cycles[1] * x))[None]


def covariance_of(n_coils, seed=7):
    factor = torch.eye(n_coils) + 0.3 * gaussian(n_coils, n_coils, seed=seed)
    return factor @ factor.mH


@for_every_matrix
def test_an_image_of_this_matrix_is_already_band_limited(matrix):
    image = gaussian(2, *matrix)
    assert_close(band_limited(image, matrix), image, **EXACT)


@for_every_matrix
@pytest.mark.parametrize("fine", [2, 3])
@pytest.mark.parametrize("cycles", [(0, 0), (3, -2), (-5, 4)])
def test_a_wave_that_the_matrix_can_hold_keeps_its_size_and_place(matrix, fine, cycles):
    grid = fine * matrix[0], fine * matrix[1]
    found = band_limited(plane_wave(grid, cycles), matrix)
    assert_close(found, plane_wave(matrix, cycles), **EXACT)


@for_every_matrix
def test_a_wave_that_is_too_fine_for_the_matrix_vanishes(matrix):
    grid = 2 * matrix[0], 2 * matrix[1]
    wave = plane_wave(grid, (matrix[0] // 2 + 1, 0))
    assert_close(
        band_limited(wave, matrix), torch.zeros_like(wave[..., : matrix[0], : matrix[1]]), **EXACT
    )


@pytest.mark.parametrize("n", [16, 17, 40])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.9])
def test_zero_filling_keeps_the_lines_around_the_origin(n, share):
    y, x = filter_windows(KSpaceFilter(phase_resolution=share), (n, 12))
    kept = y.nonzero().flatten().tolist()
    n_kept = round(share * n)
    first = n // 2 - n_kept // 2
    assert kept == list(range(first, first + n_kept))
    assert n // 2 in kept
    assert set(y.tolist()) == {0.0, 1.0}
    assert bool((x == 1).all())


@pytest.mark.parametrize("n", [32, 33])
@pytest.mark.parametrize("roll_off", [0.2, 0.5, 1.0])
def test_a_roll_off_is_a_tukey_window_about_the_origin(n, roll_off):
    windows = filter_windows(KSpaceFilter(roll_off=roll_off), (n, n))
    for window in windows:
        for index in range(n):
            away = abs(index - n // 2) / ((n + 1) / 2)
            into = max(0.0, (away - (1 - roll_off)) / roll_off)
            expected = 0.5 * (1 + math.cos(math.pi * min(into, 1)))
            assert float(window[index]) == pytest.approx(expected, abs=1e-6)
        assert float(window[n // 2]) == 1
        assert float(window.min()) > 0  # a weight of 0 would say that nothing was measured


def test_a_roll_off_of_fewer_lines_ends_with_them():
    y, x = filter_windows(KSpaceFilter(phase_resolution=0.5, roll_off=0.4), (39, 39))
    outside = (torch.arange(39) - 19).abs() > 10
    assert not y[outside].any()
    assert float(y[19 + 8]) == pytest.approx(0.5 + 0.5 * math.cos(math.pi * (8 / 10.5 - 0.6) / 0.4))
    assert float(x[19 + 8]) == 1


def test_without_a_filter_k_space_is_left_alone():
    kspace = gaussian(2, 3, 9, 8)
    windows = filter_windows(KSpaceFilter(), (9, 8))
    assert torch.equal(apply_windows(kspace, windows), kspace)


def test_windows_weight_lines_by_the_first_and_samples_by_the_second():
    y, x = torch.tensor([1.0, 0.5, 0.0]), torch.tensor([1.0, 2.0])
    found = apply_windows(torch.ones(1, 1, 3, 2, dtype=torch.complex128), (y, x))[0, 0]
    assert found.real.tolist() == [[1, 2], [0.5, 1], [0, 0]]


def test_splitting_off_the_shading_keeps_what_every_coil_sees():
    image, coils = gaussian(2, 9, 8), gaussian(5, 9, 8, seed=1)
    shaded, maps = split_shading(image, coils)
    assert_close(maps.abs().square().sum(0), torch.ones(9, 8).double(), **EXACT)
    assert_close(shaded[:, None] * maps, image[:, None] * coils, **EXACT)


def test_where_no_coil_sees_anything_maps_and_image_are_zero():
    image, coils = gaussian(1, 6, 5), gaussian(3, 6, 5, seed=1)
    coils[:, 2, 3] = 0
    shaded, maps = split_shading(image, coils)
    assert not maps[:, 2, 3].any()
    assert not shaded[:, 2, 3].any()
    assert bool(maps.isfinite().all())
    assert bool(shaded.isfinite().all())


@for_every_matrix
def test_combining_encoded_coils_gives_the_image(matrix):
    image, maps = split_shading(gaussian(3, *matrix), gaussian(4, *matrix, seed=1))
    kspace = encode(image, maps)
    assert kspace.shape == (3, 4, *matrix)
    assert_close((maps.conj() * ifft2c(kspace)).sum(-3), image, **EXACT)


def beats(shift_mm, late):
    return BeatErrors(torch.tensor(shift_mm), torch.tensor(late))


FOV_MM = (240.0, 400.0)


def test_beats_without_errors_change_nothing():
    kspace = gaussian(3, 2, 13, 8)
    assert_close(disturb(kspace, beats([0.0] * 4, [0] * 4), (0.6, 0.8), FOV_MM), kspace, **EXACT)


@for_every_matrix
def test_a_shift_of_whole_pixels_moves_the_image_by_exactly_so_many(matrix):
    image = gaussian(2, 1, *matrix)
    voxel_mm = FOV_MM[0] / matrix[0], FOV_MM[1] / matrix[1]
    moves = 2 * voxel_mm[0] / 10, -3 * voxel_mm[1] / 10  # per millimetre; the body moves ten
    moved = disturb(fft2c(image), beats([10.0] * 3, [0] * 3), moves, FOV_MM)
    expected = image.roll((2, -3), (-2, -1))
    if matrix[0] % 2 or matrix[1] % 2:
        assert_close(ifft2c(moved), expected, rtol=0, atol=1e-5)
    assert_close(moved.abs(), fft2c(image).abs(), rtol=0, atol=1e-5)
    inner = (slice(None), slice(None), slice(1, None), slice(1, None))
    assert_close(moved[inner], fft2c(expected)[inner], rtol=0, atol=1e-5)


def test_only_the_lines_of_a_beat_bear_its_errors():
    kspace = gaussian(4, 2, 11, 6)
    shifted = disturb(kspace, beats([0.0, 5.0, 0.0], [0, 0, 0]), (1.0, 0.0), FOV_MM)
    is_second = torch.arange(11) % 3 == 1
    assert_close(shifted[..., ~is_second, :], kspace[..., ~is_second, :], **EXACT)
    k = torch.arange(11)[is_second] - 5
    phase = torch.exp(-2j * torch.pi * k * 5.0 / FOV_MM[0])
    expected = kspace[..., is_second, :] * phase[:, None]
    assert_close(shifted[..., is_second, :], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("late", [1, -1])
def test_a_late_trigger_takes_its_lines_from_the_next_frame(late):
    kspace = gaussian(5, 2, 12, 6)
    mixed = disturb(kspace, beats([0.0, 0.0], [0, late]), (0.3, 0.3), FOV_MM)
    assert_close(mixed[..., ::2, :], kspace[..., ::2, :], **EXACT)
    for frame in range(5):
        source = kspace[(frame + late) % 5, :, 1::2]
        assert_close(mixed[frame, :, 1::2], source, **EXACT)


def relative_error(found, expected):
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_noise_has_the_covariance_asked_for_within_two_percent_at_every_scale(scale):
    covariance = scale**2 * covariance_of(5)
    noise = draw_noise((2, 5, 250, 300), covariance, torch.Generator().manual_seed(0))
    assert noise.dtype == torch.complex64
    samples = noise.transpose(0, 1).flatten(1).to(torch.complex128)
    assert relative_error(noise_covariance(samples), covariance) < 0.02
    assert float((samples @ samples.T / samples.shape[1]).norm()) < 0.02 * scale**2 * 5


def test_a_noise_scan_has_the_covariance_asked_for_within_two_percent():
    covariance = covariance_of(4)
    noise = draw_noise_scan(150_000, covariance, torch.Generator().manual_seed(0))
    assert noise.shape == (4, 150_000)
    assert relative_error(noise_covariance(noise.to(torch.complex128)), covariance) < 0.02


def test_noise_of_neighbouring_samples_is_independent():
    noise = draw_noise((1, 2, 300, 300), covariance_of(2), torch.Generator().manual_seed(0))[0]
    power = float(noise.abs().square().mean())
    for shift in ((0, 1), (1, 0)):
        product = (noise * noise.roll(shift, (-2, -1)).conj()).mean()
        assert abs(complex(product)) < 0.02 * power


def test_the_factor_of_a_covariance_is_triangular_and_its_square_gives_it_back():
    covariance = covariance_of(6)
    factor = cholesky_factor(covariance)
    assert_close(factor @ factor.mH, covariance, **EXACT)
    assert not factor.triu(1).any()
