"""SENSE: exact columns, conjugate gradients and the regularisation."""

import math

import pytest
import torch
from torch.testing import assert_close

from mrcli.physics.encoding import Y_ONLY, CartesianEncoding, decouple_readout_, fft2c
from mrcli.physics.sense import (
    SMALLEST_REGULARIZATION,
    adjoint_image,
    conjugate_gradients,
    map_error_regularization,
    normal_operator,
    solve_sense,
    wiener_regularization,
)

FRAMES, COILS = 3, 4
EXACT = {"rtol": 0, "atol": 1e-12}
MATRICES = [(12, 10), (11, 9), (11, 10)]


def gaussian(*shape, seed=0):
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def unit_maps(matrix):
    maps = gaussian(1, COILS, *matrix, seed=2)
    return maps / maps.abs().square().sum(1, keepdim=True).sqrt()


def lines(n_frames, n_y):
    """Every frame other lines, frame 0 and 1 the same ones."""
    offsets = [0, 0, 1][:n_frames]
    return torch.stack([torch.arange(n_y) % 3 == o for o in offsets]).view(n_frames, 1, n_y, 1)


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("n_masks", [1, FRAMES])
def test_columns_solve_the_normal_equations_of_the_whole_encoding(matrix, n_masks):
    maps, mask = unit_maps(matrix), lines(n_masks, matrix[0])
    whole = CartesianEncoding(maps, mask.expand(-1, -1, *matrix))
    kspace = whole.mask * gaussian(FRAMES, COILS, *matrix, seed=4)
    data, line_mask, axes = decouple_readout_(kspace.clone(), whole.mask)
    x = solve_sense(CartesianEncoding(maps, line_mask, axes), data, 0.05)
    residual = whole.adjoint(whole.forward(x)) + 0.05 * x - whole.adjoint(kspace)
    assert_close(residual, torch.zeros_like(residual), **EXACT)


@pytest.mark.parametrize("matrix", MATRICES)
def test_points_are_solved_to_the_tolerance_of_conjugate_gradients(matrix):
    mask = gaussian(FRAMES, 1, *matrix, seed=1).real > 0
    encoding = CartesianEncoding(unit_maps(matrix), mask)
    kspace = mask * gaussian(FRAMES, COILS, *matrix, seed=4)
    x = solve_sense(encoding, kspace, 0.05)
    right = encoding.adjoint(kspace)
    residual = encoding.adjoint(encoding.forward(x)) + 0.05 * x - right
    assert float(residual.norm()) <= 2e-5 * float(right.norm())


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("axes", [(-2, -1), Y_ONLY])
def test_the_normal_operator_is_the_adjoint_of_the_forward(matrix, axes):
    mask = lines(FRAMES, matrix[0]) if axes == Y_ONLY else gaussian(1, 1, *matrix).real > 0
    encoding = CartesianEncoding(unit_maps(matrix), mask, axes)
    x = gaussian(FRAMES, *matrix, seed=3)
    assert_close(normal_operator(encoding)(x), encoding.adjoint(encoding.forward(x)), **EXACT)


def test_the_adjoint_image_is_the_adjoint_frame_by_frame():
    encoding = CartesianEncoding(unit_maps((11, 10)), lines(FRAMES, 11), Y_ONLY)
    kspace = gaussian(FRAMES, COILS, 11, 10, seed=4)
    assert_close(adjoint_image(encoding, kspace), encoding.adjoint(kspace), **EXACT)


def test_without_noise_or_gaps_the_image_comes_back():
    x = gaussian(FRAMES, 11, 10)
    encoding = CartesianEncoding(unit_maps((11, 10)), torch.ones(1, 1, 11, 1, dtype=bool), Y_ONLY)
    assert_close(solve_sense(encoding, encoding.forward(x), 0.0), x, **EXACT)


def test_conjugate_gradients_solve_a_diagonal_in_as_many_steps_as_it_has_values():
    diagonal = torch.tensor([1.0, 2, 4], dtype=torch.float64).expand(2, 1, 3)
    right = gaussian(2, 1, 3)
    calls = []

    def operator(x):
        calls.append(x)
        return diagonal * x

    assert_close(conjugate_gradients(operator, right), right / diagonal, rtol=0, atol=1e-10)
    assert len(calls) <= 4


def test_conjugate_gradients_answer_zero_with_zero():
    nothing = torch.zeros(2, 3, 3, dtype=torch.complex128)
    assert_close(conjugate_gradients(lambda x: x, nothing), nothing)


ACS = torch.zeros(1, 1, 64, 1, dtype=torch.bool)
ACS[:, :, 22:42] = True
EVERY_OTHER = (torch.arange(64) % 2 == 0).view(1, 1, 64, 1)
NOTHING = torch.zeros_like(ACS)


def white_study(signal, sigma, mask=EVERY_OTHER | ACS):
    image = signal * gaussian(1, 64, 48, seed=1)
    encoding = CartesianEncoding(unit_maps((64, 48)), mask, Y_ONLY)
    noise = sigma * gaussian(1, COILS, 64, 48, seed=5)
    return encoding, encoding.forward(image) + mask * noise


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_regularisation_is_noise_power_over_signal_power(scale):
    encoding, kspace = white_study(signal=2.0, sigma=0.1)
    weight = wiener_regularization(encoding, scale * kspace, scale * 0.1, ACS)
    assert weight == pytest.approx(0.1**2 / 2.0**2, rel=0.1)


def test_the_regularisation_reads_the_signal_outside_the_calibration_block_only():
    encoding, kspace = white_study(signal=2.0, sigma=0.1)
    outside = wiener_regularization(encoding, kspace, 0.1, ACS)
    kspace[:, :, 22:42] *= 100
    assert wiener_regularization(encoding, kspace, 0.1, ACS) == pytest.approx(outside)


def test_air_without_maps_does_not_dilute_the_signal_of_the_object():
    """The power counts per pixel of the object, however small a part of the image it fills."""
    maps = unit_maps((64, 48))
    maps[..., 12:] = 0
    encoding = CartesianEncoding(maps, EVERY_OTHER | ACS, Y_ONLY)
    kspace = encoding.forward(2 * gaussian(1, 64, 48, seed=1))
    noise = encoding.mask * 0.1 * gaussian(1, COILS, 64, 48, seed=5)
    weight = wiener_regularization(encoding, kspace + noise, 0.1, ACS)
    assert weight == pytest.approx(0.1**2 / 2.0**2, rel=0.1)


def test_pure_noise_is_regularised_by_a_finite_weight_and_no_noise_by_the_smallest():
    weight = wiener_regularization(*white_study(signal=0.0, sigma=1.0), 1.1, NOTHING)
    assert math.isfinite(weight)
    assert weight > 10
    study = white_study(signal=1.0, sigma=0.0)
    assert wiener_regularization(*study, 0.0, NOTHING) == SMALLEST_REGULARIZATION


def test_what_is_complete_is_not_regularised():
    study = white_study(signal=1.0, sigma=1.0, mask=torch.ones_like(ACS))
    assert wiener_regularization(*study, 1.0, ACS) == SMALLEST_REGULARIZATION


def test_errors_of_maps_count_only_where_coils_have_something_to_unfold():
    several, _ = white_study(signal=1.0, sigma=0.1)
    single = CartesianEncoding(several.maps[:, :1], several.mask, several.axes)
    complete = CartesianEncoding(several.maps, torch.ones_like(several.mask), several.axes)
    assert map_error_regularization(several) > 0
    assert map_error_regularization(single) == map_error_regularization(complete) == 0


def test_a_point_between_two_lines_is_unfolded_where_coils_differ():
    """Half the lines fold a pixel onto one half a field of view away; two coils tell them apart."""
    maps = torch.zeros(1, 2, 8, 4, dtype=torch.complex128)
    maps[:, 0, :4], maps[:, 1, 4:] = 1, 1
    image = torch.zeros(1, 8, 4, dtype=torch.complex128)
    image[0, 1, 2] = 3
    mask = (torch.arange(8) % 2 == 0).view(1, 1, 8, 1).expand(1, 1, 8, 4)
    encoding = CartesianEncoding(maps, mask)
    kspace = mask * fft2c(maps * image.unsqueeze(1))
    data, line_mask, axes = decouple_readout_(kspace.clone(), mask)
    solved = solve_sense(CartesianEncoding(maps, line_mask, axes), data, 0.0)
    assert_close(solved, image, **EXACT)
    assert float(encoding.adjoint(kspace)[0, 1, 2].abs()) == pytest.approx(1.5)
