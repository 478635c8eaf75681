"""Closed forms of each term of the loss."""

import math

import pytest
import torch
from skimage.metrics import structural_similarity

from mrcli.physics.encoding import ifft2c
from mrcli.training import losses
from mrcli.training.losses import (
    LossWeights,
    decibels,
    loss_of,
    multi_scale_ssim,
    ring_error,
)
from tiny import complex_noise

SIZES = [(2, 32, 48), (1, 33, 47)]


@pytest.mark.parametrize("size", SIZES)
def test_an_error_of_a_tenth_is_minus_20_decibels(size):
    target = complex_noise(*size)
    assert float(decibels(1.1 * target, target)) == pytest.approx(-20, abs=1e-4)


def test_decibels_are_the_mean_over_frames_whatever_their_scale():
    target = complex_noise(2, 16, 16)
    image = target * torch.tensor([1.1, 2.0])[:, None, None]
    assert float(decibels(image, target)) == pytest.approx(-10, abs=1e-4)
    dark = torch.tensor([1.0, 1e-6])[:, None, None]
    assert float(decibels(image * dark, target * dark)) == pytest.approx(-10, abs=1e-4)


def test_an_exact_image_is_as_good_as_single_precision_and_has_a_finite_gradient():
    target = complex_noise(1, 16, 16)
    image = target.clone().requires_grad_()
    found = decibels(image, target)
    assert float(found.detach()) == pytest.approx(
        10 * math.log10(torch.finfo(torch.float32).eps), abs=1e-3
    )
    found.backward()
    assert bool(image.grad.isfinite().all())


def test_the_structure_of_an_image_itself_is_1():
    target = complex_noise(2, 40, 56).abs()
    assert float(multi_scale_ssim(target, target)) == pytest.approx(1, abs=1e-6)
    assert float(multi_scale_ssim(0.5 * target, target)) < 0.95


def test_one_scale_is_the_ssim_of_skimage_with_a_uniform_window(monkeypatch):
    monkeypatch.setattr(losses, "_SCALES", 1)
    target = complex_noise(1, 33, 40).abs()
    image = target + 0.3 * complex_noise(1, 33, 40, seed=1).abs()
    peak = float(target.amax())
    expected, whole = structural_similarity(
        image[0].numpy() / peak,
        target[0].numpy() / peak,
        win_size=7,
        data_range=1.0,
        use_sample_covariance=False,
        full=True,
    )
    found = float(multi_scale_ssim(image, target))
    # skimage too drops the margin of half a window
    assert found == pytest.approx(float(expected), abs=1e-4)
    assert whole.shape == (33, 40)


def test_the_scales_are_means_over_pixels_of_1_2_4_and_8(monkeypatch):
    image, target = (complex_noise(1, 64, 64, seed=seed).abs() for seed in (0, 1))
    together = float(multi_scale_ssim(image, target))
    monkeypatch.setattr(losses, "_SCALES", 1)
    each, peak = [], target.amax()  # of the finest scale, for all
    for n in (1, 2, 4, 8):
        coarse = [
            one.reshape(1, 64 // n, n, 64 // n, n).mean((2, 4)) / peak for one in (image, target)
        ]
        each.append(float(losses._ssim(*(one.unsqueeze(1) for one in coarse))))
    assert together == pytest.approx(sum(each) / 4, abs=1e-5)


def test_scales_too_small_for_the_window_are_left_out():
    image, target = (complex_noise(1, 9, 12, seed=seed).abs() for seed in (0, 1))
    peak = target.amax()
    one = losses._ssim((image / peak)[:, None], (target / peak)[:, None])
    assert float(multi_scale_ssim(image, target)) == pytest.approx(float(one), abs=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_each_ring_of_a_scaled_image_has_the_same_error(size):
    target = complex_noise(*size)
    assert float(ring_error(1.1 * target, target)) == pytest.approx(-20, abs=1e-2)


def test_rings_cover_the_inner_disc_once_and_leave_the_corners_out():
    rings = losses._rings(32, 48)
    assert rings.shape == (32 * 48, 12)
    assert set(rings.sum(1).unique().tolist()) == {0.0, 1.0}
    corner, center = rings.reshape(32, 48, 12)[0, 0], rings.reshape(32, 48, 12)[16, 24]
    assert corner.sum() == 0
    assert center[0] == 1


def test_an_error_in_fine_detail_counts_as_much_as_one_in_coarse():
    target = torch.zeros(1, 32, 32, dtype=torch.complex64)
    target[0, 16, 16] = 1  # a point: every frequency alike
    flat = losses.fft2c(target)
    coarse, fine = flat.clone(), flat.clone()
    rings = losses._rings(32, 32).reshape(32, 32, 12).bool()
    coarse[0][rings[..., 0]] *= 1.1
    fine[0][rings[..., 11]] *= 1.1
    one, other = (float(ring_error(ifft2c(k), target)) for k in (coarse, fine))
    assert one == pytest.approx(other, abs=2)
    assert float(decibels(ifft2c(fine), target)) > float(decibels(ifft2c(coarse), target)) + 10


def test_the_loss_is_the_weighted_sum_of_its_terms():
    image, target = complex_noise(2, 32, 32, seed=1), complex_noise(2, 32, 32)
    loss = loss_of(image, target, LossWeights(2.0, 3.0, 5.0, 7.0))
    terms = loss.terms
    expected = 2 * terms["error"] + 3 * terms["magnitude"] + 5 * terms["structure"]
    assert float(loss.total) == pytest.approx(expected + 7 * terms["frequency"], rel=1e-5)
    assert terms["error"] == pytest.approx(float(decibels(image, target)))
    assert terms["magnitude"] == pytest.approx(float(decibels(image.abs(), target.abs())))
    structure = 1 - float(multi_scale_ssim(image.abs(), target.abs()))
    assert terms["structure"] == pytest.approx(structure, abs=1e-6)
    assert terms["frequency"] == pytest.approx(float(ring_error(image, target)), abs=1e-4)


def test_a_term_without_weight_is_not_computed():
    image = complex_noise(1, 16, 16)
    assert set(loss_of(image, image, LossWeights(frequency=0)).terms) == {
        *("error", "magnitude", "structure")
    }


def test_frames_without_signal_do_not_count():
    image, target = complex_noise(2, 16, 16, seed=1), complex_noise(2, 16, 16)
    target[1] = 0
    both, first = (
        loss_of(one, t, LossWeights()) for one, t in ((image, target), (image[:1], target[:1]))
    )
    assert both.terms == first.terms


def test_a_sample_without_signal_has_a_gradient_of_zero():
    image = complex_noise(1, 16, 16).requires_grad_()
    loss = loss_of(image, torch.zeros_like(image), LossWeights())
    loss.total.backward()
    assert loss.terms == {}
    assert not bool(image.grad.abs().any())
