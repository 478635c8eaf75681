"""PSNR, SSIM and NMSE in closed form."""

import math

import numpy as np
import pytest

from mrcli.errors import DataError, NotFinite, ShapeError
from mrcli.metrics.image import least_squares_scale, nmse, psnr, ssim


def textured(*shape, seed=0):
    return np.random.default_rng(seed).uniform(1.0, 3.0, shape)


for_odd_and_even = pytest.mark.parametrize("shape", [(8, 10), (9, 7), (11, 8)])


@for_odd_and_even
def test_an_image_ten_percent_too_bright_has_an_nmse_of_one_percent(shape):
    reference = textured(*shape)
    assert nmse(1.1 * reference, reference) == pytest.approx(0.01, rel=1e-12)


@for_odd_and_even
def test_an_offset_of_a_tenth_of_the_range_is_twenty_decibels(shape):
    reference = textured(*shape)
    assert psnr(reference + 0.5, reference, data_range=5.0) == pytest.approx(20, rel=1e-12)


@for_odd_and_even
def test_an_offset_costs_only_the_luminance_term_of_ssim(shape):
    # one window per pixel: mean m and m + d give (2 m (m + d) + c) / (m^2 + (m + d)^2 + c)
    reference = np.indices(shape).sum(0) % 2 + 1.0
    offset, c = 0.25, (0.01 * 2) ** 2
    means = np.array(
        [
            reference[i : i + 7, j : j + 7].mean()
            for i in range(shape[0] - 6)
            for j in range(shape[1] - 6)
        ]
    )
    luminance = (2 * means * (means + offset) + c) / (means**2 + (means + offset) ** 2 + c)
    found = ssim(reference + offset, reference, data_range=2.0)
    assert found == pytest.approx(luminance.mean(), rel=1e-12)


def test_an_identical_image_is_infinitely_good():
    reference = textured(9, 8)
    assert psnr(reference, reference, data_range=3.0) == math.inf
    assert ssim(reference, reference, data_range=3.0) == 1
    assert nmse(reference, reference) == 0


def test_swapped_arguments_change_nmse():
    image, reference = textured(8, 8), 2 * textured(8, 8)
    assert nmse(image, reference) == pytest.approx(0.25, rel=1e-12)
    assert nmse(reference, image) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("factor", [1e-200, 1e-9, 1, 1e9, 1e200])
def test_the_scale_of_both_changes_nothing(factor):
    image, reference = textured(9, 8), textured(9, 8, seed=1)
    assert nmse(factor * image, factor * reference) == pytest.approx(nmse(image, reference))
    for measure in (psnr, ssim):
        found = measure(factor * image, factor * reference, data_range=3 * factor)
        assert found == pytest.approx(measure(image, reference, data_range=3.0), rel=1e-9)


@pytest.mark.parametrize("factor", [1e-200, 1e-9, 2.5, 1e9, 1e200])
def test_least_squares_scale_undoes_a_factor(factor):
    reference = textured(9, 8)
    assert least_squares_scale(reference * factor, reference) == pytest.approx(1 / factor)


def test_least_squares_scale_leaves_a_residual_orthogonal_to_the_image():
    image, reference = textured(9, 8), textured(9, 8, seed=1)
    residual = least_squares_scale(image, reference) * image - reference
    assert np.vdot(residual, image) == pytest.approx(0, abs=1e-11)


def test_shapes_that_differ_are_named_both():
    with pytest.raises(ShapeError, match=r"image of shape \(8, 8\), reference of shape \(8, 9\)"):
        nmse(textured(8, 8), textured(8, 9))


@pytest.mark.parametrize("level", [0.0, 4.0])
def test_a_constant_reference_is_refused(level):
    with pytest.raises(DataError, match="the reference is constant"):
        psnr(textured(8, 8), np.full((8, 8), level), data_range=1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_on_either_side(bad):
    broken = textured(8, 8)
    broken[3, 4] = bad
    with pytest.raises(NotFinite, match="the image holds 1 values that are not finite of 64"):
        nmse(broken, textured(8, 8))
    with pytest.raises(NotFinite, match="the reference holds 1"):
        nmse(textured(8, 8), broken)


@pytest.mark.parametrize("data_range", [0.0, -1.0, np.nan])
def test_a_data_range_must_be_above_zero(data_range):
    with pytest.raises(DataError, match="data range must be above 0"):
        psnr(textured(8, 8), textured(8, 8, seed=1), data_range=data_range)


def test_a_frame_smaller_than_the_window_is_refused():
    with pytest.raises(ShapeError, match=r"at least 7 x 7 pixels, got \(6, 8\)"):
        ssim(textured(6, 8), textured(6, 8, seed=1), data_range=3.0)


def test_an_image_of_zeros_has_no_scale():
    with pytest.raises(DataError, match="the image holds only zeros"):
        least_squares_scale(np.zeros((8, 8)), textured(8, 8))
