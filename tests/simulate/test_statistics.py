import math

import pytest
import torch

from mrcli.physics.encoding import fft2c
from mrcli.physics.noise import noise_covariance
from mrcli.simulate.statistics import (
    ScanStatistics,
    center_of,
    change_between,
    coil_energy,
    eigenvalue_spread_db,
    g_factor,
    kurtosis,
    mean_correlation,
    neighbour_correlation,
    noise_at_edges,
    object_of,
    pairwise_distance,
    phase_gradient,
    radial_power,
    radial_slope,
    scan_statistics,
    shading,
    signal_to_noise,
    site_statistics,
    temporal_shares,
)

COMPLEX = torch.complex128
MATRICES = [(24, 32), (23, 31)]
SCALES = [1e-9, 1.0, 1e9]


def white(*shape, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=COMPLEX, generator=random)


def plane(matrix):
    y, x = (torch.arange(n, dtype=torch.float64) for n in matrix)
    return torch.meshgrid(y, x, indexing="ij")


def statistics_of(first):
    return ScanStatistics(first, *range(10))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("matrix", MATRICES)
def test_coils_that_see_two_orthogonal_images_have_two_singular_values(matrix, scale):
    x = plane(matrix)[1]
    left = (x < matrix[1] // 2).to(COMPLEX)
    images = torch.stack((3 * left, 4j * left, 2 * (1 - left), 0 * left))
    energy = coil_energy(scale * images)
    size, other = float(left.real.sum()), float((1 - left.real).sum())
    expected = torch.tensor([25 * size, 4 * other, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(energy, expected / expected.sum(), atol=1e-14, rtol=1e-12)


@pytest.mark.parametrize("matrix", MATRICES)
def test_the_center_holds_the_origin_at_its_own_origin(matrix):
    kspace = torch.zeros(1, *matrix, dtype=COMPLEX)
    kspace[0, matrix[0] // 2, matrix[1] // 2] = 1
    center = center_of(kspace, 7)
    assert center.shape == (1, 7, 7)
    assert center[0, 3, 3] == 1
    assert center_of(kspace, 1000).shape == kspace.shape


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("matrix", [(200, 256), (201, 255)])
def test_white_noise_has_the_same_power_at_every_radius(matrix, scale):
    radius, power = radial_power(scale * white(4, *matrix), n_rings=10)
    assert len(radius) == 10
    assert float((power - 1).abs().max()) < 0.15
    assert abs(radial_slope(scale * white(4, *matrix))) < 0.05


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_point_has_the_same_power_at_every_radius(matrix):
    image = torch.zeros(1, *matrix, dtype=COMPLEX)
    image[0, 5, 7] = 1j
    power = radial_power(fft2c(image), n_rings=8)[1]
    torch.testing.assert_close(power, torch.ones(8, dtype=torch.float64))


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_constant_image_has_all_its_power_in_the_first_ring(matrix):
    power = radial_power(fft2c(torch.ones(1, *matrix, dtype=COMPLEX)), n_rings=4)[1]
    assert float(power[0]) > 1
    assert float(power[1:].max()) < 1e-20


@pytest.mark.parametrize("slope", [-2.0, -3.0])
@pytest.mark.parametrize("matrix", [(400, 400), (401, 399)])
def test_power_that_falls_as_a_power_of_frequency_has_that_slope(matrix, slope):
    y, x = ((torch.arange(n, dtype=torch.float64) - n // 2) / (n / 2) for n in matrix)
    radius = torch.hypot(y[:, None], x).clamp(min=1e-3)
    assert radial_slope((radius ** (slope / 2)).to(COMPLEX)[None]) == pytest.approx(slope, abs=0.02)


@pytest.mark.parametrize("scale", SCALES)
def test_gaussian_noise_has_kurtosis_three_and_uniform_noise_nine_fifths(scale):
    uniform = torch.rand(2, 200_000, 2, generator=torch.Generator().manual_seed(1)).double()
    assert kurtosis(scale * white(2, 200_000)) == pytest.approx(3, abs=0.05)
    assert kurtosis(scale * torch.view_as_complex(uniform)) == pytest.approx(1.8, abs=0.01)


@pytest.mark.parametrize("scale", SCALES)
def test_equal_correlation_of_all_coils_is_found_with_its_eigenvalues(scale):
    n, rho = 5, 0.3
    level = torch.tensor([1.0, 2, 3, 4, 5], dtype=torch.float64) * scale
    correlation = rho * torch.ones(n, n) + (1 - rho) * torch.eye(n)
    covariance = (correlation * torch.outer(level, level)).to(COMPLEX)
    assert mean_correlation(covariance) == pytest.approx(rho)
    spread = 10 * math.log10((1 + (n - 1) * rho) / (1 - rho))
    assert eigenvalue_spread_db(covariance) == pytest.approx(spread)


def test_one_coil_has_no_correlation():
    assert mean_correlation(torch.full((1, 1), 4.0, dtype=COMPLEX)) == 0


@pytest.mark.parametrize("scale", SCALES)
def test_the_mean_of_two_neighbours_is_correlated_by_half(scale):
    noise = white(2, 100, 400)
    assert neighbour_correlation(scale * noise) < 0.02
    mixed = noise[..., 1:] + noise[..., :-1]
    assert neighbour_correlation(scale * mixed) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("matrix", [(64, 160), (65, 161)])
def test_edges_of_the_field_of_view_hold_air(matrix):
    image = torch.zeros(2, *matrix, dtype=COMPLEX)
    image[..., 20:-20] = 1
    noise = white(2, *matrix)
    edges = noise_at_edges(fft2c(image) + 1e-3 * noise)
    assert edges.shape == (2, 2 * 16, 20)
    assert float(edges.abs().square().mean()) == pytest.approx(1e-6, rel=0.1)


def test_lines_that_were_not_measured_are_no_noise():
    kspace = white(1, 40, 160)
    kspace[:, 20:] = 0
    edges = noise_at_edges(kspace)
    assert edges.shape == (1, 10, 20)
    assert float(edges.abs().min()) > 0


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("matrix", MATRICES)
def test_a_ramp_has_the_gradient_of_its_slope_across_wraps(matrix, scale):
    y, x = plane(matrix)
    ramp = torch.polar(1 + 0.1 * y, 0.9 * y - 1.2 * x)
    assert phase_gradient(scale * ramp[None]) == pytest.approx(1.5)


def test_phase_of_air_does_not_count():
    image = 0.02 * white(20, 200)
    image[:, :10] = 1
    assert phase_gradient(image[None]) < 1e-2


@pytest.mark.parametrize("matrix", MATRICES)
def test_without_acceleration_the_g_factor_is_one(matrix):
    maps = white(4, *matrix)
    covariance = noise_covariance(white(4, 100))
    torch.testing.assert_close(
        g_factor(maps, covariance, 1), torch.ones(matrix, dtype=torch.float64)
    )


@pytest.mark.parametrize("n_y", [24, 30])
def test_coils_that_see_one_half_each_have_a_g_factor_of_one(n_y):
    maps = torch.zeros(2, n_y, 8, dtype=COMPLEX)
    maps[0, : n_y // 2], maps[1, n_y // 2 :] = 1, 1j
    g = g_factor(maps, torch.eye(2, dtype=COMPLEX), 2)
    torch.testing.assert_close(g, torch.ones_like(g))


@pytest.mark.parametrize("scale", SCALES)
def test_the_g_factor_of_two_coils_and_two_folds_has_its_closed_form(scale):
    maps, noise = white(2, 10, 3), white(2, 200)
    covariance = noise_covariance(noise)
    inverse = torch.linalg.inv(covariance)
    a, b = maps[:, :5], maps[:, 5:]
    overlap = torch.einsum("cyx,cd,dyx->yx", a.conj(), inverse, b).abs().square()
    power = [torch.einsum("cyx,cd,dyx->yx", m.conj(), inverse, m).real for m in (a, b)]
    expected = (1 - overlap / (power[0] * power[1])).rsqrt()
    g = g_factor(scale * maps, scale**2 * covariance, 2)
    torch.testing.assert_close(g[:5], expected)
    torch.testing.assert_close(g[5:], expected)


def test_pixels_that_fold_onto_air_have_a_g_factor_of_one_and_air_has_none():
    maps = white(3, 12, 2)
    maps[:, 6:] = 0
    g = g_factor(maps, torch.eye(3, dtype=COMPLEX), 2)
    torch.testing.assert_close(g[:6], torch.ones(6, 2, dtype=torch.float64))
    assert not g[6:].any()


def test_one_coil_cannot_unfold():
    g = g_factor(torch.ones(1, 8, 2, dtype=COMPLEX), torch.eye(1, dtype=COMPLEX), 2)
    assert bool(g.isinf().all())


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("n_frames", [12, 11])
def test_one_cosine_over_time_has_one_temporal_frequency(n_frames, scale):
    time = torch.arange(n_frames, dtype=torch.float64) / n_frames
    series = (1 + 0.5 * torch.cos(2 * torch.pi * 3 * time))[:, None, None] * white(1, 4, 5)
    shares = temporal_shares(scale * series)
    expected = torch.zeros(n_frames // 2 + 1, dtype=torch.float64)
    expected[0], expected[3] = 1, 0.5**2 / 2
    torch.testing.assert_close(shares, expected / expected.sum(), atol=1e-14, rtol=1e-12)


def test_frames_that_alternate_have_the_highest_frequency_and_one_frame_only_the_lowest():
    series = torch.tensor([1.0, -1, 1, -1], dtype=COMPLEX)[:, None, None]
    expected = torch.tensor([0, 0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(temporal_shares(series), expected)
    torch.testing.assert_close(temporal_shares(series[:1]), expected[2:])


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("matrix", MATRICES)
def test_change_is_that_of_the_window_that_changes_most(matrix, scale):
    first = torch.ones(matrix, dtype=torch.float64)
    second = first.clone()
    second[3:8, 4:9] = 2
    expected = 1 / math.sqrt((1 + 4) / 2)
    assert change_between(scale * first, scale * second, 5) == pytest.approx(expected)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("matrix", MATRICES)
def test_shading_is_the_brightest_over_the_median_of_the_object(matrix, scale):
    image = torch.ones(matrix, dtype=torch.float64)
    image[0], image[:, 0] = 0.01, 3
    assert int(object_of(scale * image).sum()) == math.prod(matrix) - matrix[1] + 1
    assert shading(scale * image) == pytest.approx(3)


@pytest.mark.parametrize("scale", SCALES)
def test_signal_to_noise_is_that_of_whitened_combined_images(scale):
    images = torch.full((2, 64, 64), 30.0, dtype=COMPLEX)
    covariance = torch.diag(torch.tensor([4.0, 9.0])).to(COMPLEX)
    expected = math.sqrt(900 / 4 + 900 / 9 - 2)
    found = signal_to_noise(scale * images, scale**2 * covariance)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("matrix", MATRICES)
def test_statistics_of_a_scan_do_not_depend_on_its_scale(matrix):
    maps = white(4, *matrix)
    maps = maps / maps.norm(dim=0)
    kspace, noise = fft2c(maps * white(3, 1, *matrix)), 0.01 * white(4, 300)
    kspace, maps, noise = (one.to(torch.complex64) for one in (kspace, maps, noise))
    once = site_statistics([scan_statistics(kspace, maps, noise)])
    for scale in (1e-9, 1e9):
        again = site_statistics([scan_statistics(scale * kspace, maps, scale * noise)])
        torch.testing.assert_close(again, once, rtol=1e-4, atol=1e-6)


def test_distance_of_sites_counts_pairs_of_different_scans_in_standard_deviations():
    near = site_statistics([statistics_of(0.0), statistics_of(2.0)])
    far = site_statistics([statistics_of(10.0), statistics_of(12.0)])
    variance = float(torch.tensor([0.0, 2, 10, 12], dtype=torch.float64).var())
    n = near.shape[1]  # the other statistics are the same everywhere
    between = (10**2 + 12**2 + 8**2 + 10**2) / 4
    expected = torch.tensor([[4, between], [between, 4]], dtype=torch.float64) / (n * variance)
    torch.testing.assert_close(pairwise_distance([near, far]), expected.sqrt())


def test_a_site_of_one_scan_has_no_spread_of_its_own():
    distance = pairwise_distance([site_statistics([statistics_of(v)]) for v in (0.0, 1.0)])
    assert bool(distance.diagonal().isnan().all())
    assert float(distance[0, 1]) > 0
