"""Coil maps: what calibration finds of sensitivities that are known."""

import pytest
import torch
from torch.testing import assert_close

from ellipses import PhantomSpec, simulate_kspace, simulate_maps, simulate_truth
from mrcli.errors import DataError
from mrcli.physics.encoding import fft2c
from mrcli.physics.sensitivity import estimate_maps, principal_coil

MATRICES = [(96, 128), (95, 127)]


def block(kspace, n_y=24, n_x=24):
    y, x = kspace.shape[-2] // 2, kspace.shape[-1] // 2
    return kspace[..., y - n_y // 2 : y + n_y // 2, x - n_x // 2 : x + n_x // 2]


def study(matrix, snr=200.0):
    voxel = (400 / matrix[1], 300 / matrix[0], 8.0)
    spec = PhantomSpec(
        n_frames=1, n_slices=1, n_coils=6, matrix=matrix, voxel_size_mm=voxel, snr=snr
    )
    truth, maps = simulate_truth(spec), simulate_maps(spec)
    return truth[0, 0], maps, simulate_kspace(truth, maps, spec)[0, 0]


@pytest.mark.parametrize("matrix", MATRICES)
def test_maps_span_the_simulated_sensitivities_inside_the_object(matrix):
    truth, true_maps, kspace = study(matrix)
    maps = estimate_maps(block(kspace), matrix, noise_sigma=1 / 200)
    overlap = (maps.conj() * true_maps).sum(0).abs()  # cosine of the angle between unit vectors
    inside = truth.abs() > 0.2
    assert float((1 - overlap[inside].square()).clamp(min=0).sqrt().mean()) < 0.01


@pytest.mark.parametrize("matrix", MATRICES)
def test_maps_have_unit_rss_or_are_zero(matrix):
    _, _, kspace = study(matrix)
    rss = estimate_maps(block(kspace), matrix, noise_sigma=1 / 200).abs().square().sum(0).sqrt()
    inside = rss > 0.5
    assert_close(rss[inside], torch.ones_like(rss[inside]), rtol=0, atol=1e-5)
    assert not rss[~inside].any()


def test_the_air_beside_the_object_has_no_maps():
    truth, _, kspace = study((96, 128))
    maps = estimate_maps(block(kspace), (96, 128), noise_sigma=1 / 200)
    assert not maps[:, :3, :3].any()
    assert bool(maps[:, truth.abs() > 0.2].any(0).all())


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_maps_do_not_depend_on_the_scale_of_the_data(scale):
    _, _, kspace = study((96, 128))
    maps = estimate_maps(block(kspace), (96, 128), noise_sigma=1 / 200)
    scaled = estimate_maps(block(kspace) * scale, (96, 128), noise_sigma=scale / 200)
    assert_close(scaled, maps, rtol=0, atol=1e-3)


def test_the_image_takes_the_phase_of_the_principal_coil():
    _, _, kspace = study((96, 128))
    maps = estimate_maps(block(kspace), (96, 128), noise_sigma=1 / 200)
    principal = torch.einsum("c,cyx->yx", principal_coil(block(kspace)).conj(), maps)
    inside = maps.any(0)
    assert float(principal[inside].imag.abs().max()) < 1e-5
    assert float(principal[inside].real.min()) >= 0


def test_the_principal_coil_is_the_one_with_the_energy():
    calibration = torch.zeros(3, 4, 4, dtype=torch.complex128)
    calibration[1] = 5
    assert_close(principal_coil(calibration).abs(), torch.tensor([0.0, 1, 0]).double())


def test_one_coil_needs_no_calibration():
    maps = estimate_maps(torch.ones(1, 1, 1, dtype=torch.complex64), (5, 7), noise_sigma=0.1)
    assert_close(maps, torch.ones(1, 5, 7, dtype=torch.complex64))


def test_too_few_lines_for_the_coils_are_refused_with_both_numbers():
    kspace = fft2c(torch.ones(8, 16, 16, dtype=torch.complex64))
    with pytest.raises(DataError, match=r"3 x 16 samples is too small to calibrate 8 coils"):
        estimate_maps(kspace[:, :3], (16, 16), noise_sigma=0.1)


def test_noiseless_calibration_of_exact_zeros_outside_one_coil_stays_finite():
    kspace = fft2c(torch.ones(4, 16, 16, dtype=torch.complex64))
    kspace[2] = 0
    maps = estimate_maps(kspace, (16, 16), noise_sigma=0.0)
    assert bool(torch.view_as_real(maps).isfinite().all())
    assert float(maps[2].abs().max()) < 1e-6
