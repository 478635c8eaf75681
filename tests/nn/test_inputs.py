"""Facts about what the network is given: virtual coils, scale, first image, average, numbers."""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from mrcli.nn.first_image import sparse_image
from mrcli.nn.inputs import compress_coils, prepare
from mrcli.nn.normal import NormalOperator
from mrcli.physics.encoding import Y_ONLY, YX, CartesianEncoding
from mrcli.physics.sense import (
    SMALLEST_REGULARIZATION,
    adjoint_image,
    map_error_regularization,
    solve_sense,
    wiener_regularization,
)
from nn.scenes import gaussian, given, line_mask, scene, unit_maps

EXACT = {"rtol": 0, "atol": 1e-10}
MATRIX = (9, 8)
for_both_axes = pytest.mark.parametrize("axes", [YX, Y_ONLY])


def measured(n_coils=12, n_seen=12, axes=YX, n_frames=3):
    """Exact data of `n_coils` coils that are mixtures of `n_seen`, in double precision."""
    mixing = torch.linalg.qr(gaussian(n_coils, n_seen, seed=8)).Q
    maps = torch.einsum("cv,bvyx->bcyx", mixing, unit_maps(n_seen, MATRIX))
    mask = line_mask(n_frames, MATRIX[0], MATRIX[1] if axes == YX else 1)
    encoding = CartesianEncoding(maps, mask, axes)
    return encoding, encoding.forward(gaussian(n_frames, *MATRIX))


def rotation_for(kspace):
    """Return the matrix ``(virtual, coil)`` of the data, read from maps of single pixels."""
    n_coils = kspace.shape[1]
    unit = torch.eye(n_coils, dtype=kspace.dtype).reshape(1, n_coils, 1, n_coils)
    encoding = CartesianEncoding(unit, torch.ones(1, 1, 1, 1, dtype=torch.bool), Y_ONLY)
    return compress_coils(encoding, kspace, 8)[0].maps[0, :, 0]


@for_both_axes
def test_coils_that_are_mixtures_of_eight_lose_nothing(axes):
    encoding, kspace = measured(n_seen=8, axes=axes)
    few, data = compress_coils(encoding, kspace, 8)
    x = gaussian(len(kspace), *MATRIX, seed=9)
    assert few.maps.shape == (1, 8, *MATRIX)
    assert data.shape == (len(kspace), 8, *MATRIX)
    assert_close(adjoint_image(few, data), adjoint_image(encoding, kspace), **EXACT)
    of_x, wanted = few.adjoint(few.forward(x)), encoding.adjoint(encoding.forward(x))
    assert_close(of_x, wanted, **EXACT)
    assert_close(data.abs().square().sum(), kspace.abs().square().sum(), **EXACT)


def test_virtual_coils_fit_their_data_as_the_coils_did():
    encoding, kspace = measured()
    few, data = compress_coils(encoding, kspace, 8)
    image = gaussian(len(kspace), *MATRIX)
    assert_close(few.forward(image), data, **EXACT)


def test_the_rotation_is_unitary_so_that_white_noise_stays_white():
    _, kspace = measured()
    rotation = rotation_for(kspace)
    assert rotation.shape == (8, 12)
    assert_close(rotation @ rotation.mH, torch.eye(8, dtype=rotation.dtype), **EXACT)


def test_virtual_coils_are_the_strongest_combinations_in_order_and_uncorrelated():
    _, kspace = measured()
    covariance = sum(one.flatten(1) @ one.flatten(1).mH for one in kspace)
    rotation = rotation_for(kspace)
    virtual = rotation @ covariance @ rotation.mH
    strongest = torch.linalg.eigvalsh(covariance).flip(0)[:8]
    assert_close(virtual, torch.diag(strongest).to(virtual), **EXACT)


@pytest.mark.parametrize("n_coils", [1, 7, 8])
def test_coils_that_are_few_already_are_left_alone(n_coils):
    encoding, kspace = measured(n_coils, n_coils)
    few, data = compress_coils(encoding, kspace, 8)
    assert few is encoding
    assert data is kspace


@for_both_axes
@pytest.mark.parametrize("factor", [1e-9, 1e9])
@pytest.mark.parametrize("n_coils", [1, 4, 12])
def test_another_unit_of_the_data_gives_the_same_input_and_another_scale(factor, axes, n_coils):
    encoding, kspace, calibrated, sigma = scene(n_coils=n_coils, axes=axes)
    plain = prepare(encoding, kspace, calibrated, sigma)
    other = prepare(encoding, kspace * factor, calibrated, sigma * factor)
    # a single coil leaves what was not measured to rounding and a weak prior
    tolerance = 1e-5 if n_coils > 1 else 5e-3
    assert other.scale == pytest.approx(plain.scale * factor, rel=tolerance)
    for name in ("combined", "start", "average", "facts"):
        assert_close(getattr(other, name), getattr(plain, name), rtol=0, atol=tolerance)


def test_combined_image_and_start_belong_to_the_same_scale_and_encoding():
    encoding, kspace, calibrated, sigma = scene()
    one = prepare(encoding, kspace, calibrated, sigma)
    assert_close(one.combined * one.scale, adjoint_image(encoding, kspace))
    assert torch.equal(one.encoding.maps, encoding.maps)
    assert one.encoding.axes == encoding.axes


def sense_of(encoding, kspace, sigma, calibrated):
    weight = wiener_regularization(encoding, kspace, sigma, calibrated)
    weight += map_error_regularization(encoding)
    return solve_sense(encoding, kspace, weight)


@for_both_axes
@pytest.mark.parametrize("n_frames", [1, 3])
def test_it_starts_from_sense_made_sparse_by_the_noise(axes, n_frames):
    encoding, kspace, calibrated, sigma = scene(n_frames, 6, axes=axes, sigma=0.3)
    one = prepare(encoding, kspace, calibrated, sigma)
    assert wiener_regularization(encoding, kspace, sigma, calibrated) > 0.01  # it would be missed
    sense = sense_of(encoding, kspace, sigma, calibrated)
    normal, combined = NormalOperator.of(encoding), adjoint_image(encoding, kspace)
    expected = sparse_image(normal, combined, sense, sigma, axes)
    assert_close(one.start * one.scale, expected, rtol=0, atol=3e-3)
    assert (expected - sense).norm() > 0.05 * sense.norm()


@for_both_axes
def test_the_bright_pixels_of_sense_are_one(axes):
    encoding, kspace, calibrated, sigma = scene(1, 6, axes=axes, sigma=0.3)
    one = prepare(encoding, kspace, calibrated, sigma)
    bright = sense_of(encoding, kspace, sigma, calibrated).abs().quantile(0.99)
    assert one.scale == pytest.approx(float(bright), rel=1e-3)


def test_without_noise_sense_still_allows_for_errors_of_the_maps():
    matrix, mask = (4, 3), torch.tensor([True, False, True, True]).reshape(1, 1, 4, 1)
    encoding = CartesianEncoding(unit_maps(6, matrix), mask, Y_ONLY)
    kspace = encoding.forward(gaussian(1, *matrix))
    scale = prepare(encoding, kspace, mask, 0.0).scale
    weight = SMALLEST_REGULARIZATION + map_error_regularization(encoding)
    expected, without = (
        float(solve_sense(encoding, kspace, one).abs().quantile(0.99))
        for one in (weight, SMALLEST_REGULARIZATION)
    )
    assert scale == pytest.approx(expected, rel=1e-5)
    assert without != pytest.approx(expected, rel=1e-4)


@for_both_axes
def test_frames_that_fill_kspace_together_average_to_the_whole_image_of_a_still_object(axes):
    n_frames, (n_y, n_x) = 3, MATRIX
    turn = torch.arange(n_y)[:, None] + torch.arange(n_x if axes == YX else 1)
    mask = torch.stack([(turn % n_frames == frame)[None] for frame in range(n_frames)])
    mask[:, :, n_y // 2] = True  # a line that every frame holds counts once
    encoding = CartesianEncoding(unit_maps(4, MATRIX), mask, axes)
    still = gaussian(1, *MATRIX)
    kspace = encoding.forward(still.expand(n_frames, -1, -1))
    one = prepare(encoding, kspace, mask.all(0, keepdim=True), 0.0)
    assert one.average.shape == (1, *MATRIX)
    assert_close(one.average * one.scale, still, **EXACT)


def test_samples_that_were_not_acquired_do_not_reach_the_average():
    encoding, kspace, calibrated, sigma = scene()
    dirty = kspace + 7 * ~encoding.mask
    plain = prepare(encoding, kspace, calibrated, sigma)
    assert_close(prepare(encoding, dirty, calibrated, sigma).average, plain.average)


def test_facts_are_noise_accelerations_calibration_time_and_what_sparsity_changed():
    n_frames, n_y = 2, 16
    mask = torch.zeros(n_frames, 1, n_y, 1, dtype=torch.bool)
    mask[0, :, [3, 8]] = True
    mask[1, :, [8, 12]] = True  # 2 of 16 lines per frame, 3 of 16 together, 1 of 16 to calibrate
    encoding = CartesianEncoding(unit_maps(3, (n_y, 6), torch.complex64), mask, Y_ONLY)
    kspace = encoding.forward(gaussian(n_frames, n_y, 6, dtype=torch.complex64))
    one = prepare(encoding, kspace, mask.all(0, keepdim=True), 0.05)
    expected = (
        (math.log10(0.05 / one.scale) + 2) / 2,
        math.log2(8) / 2 - 1,
        math.log2(16 / 3) / 2 - 1,
        math.log2(1 / 16) / 4 + 1,
        1,
        float(one.facts[5]),
    )
    sense = sense_of(encoding, kspace, 0.05, mask.all(0, keepdim=True)) / one.scale
    change = float((one.start - sense).norm() / one.start.norm())
    assert one.facts[5] == pytest.approx((math.log10(change) + 1.5) / 1.5, abs=1e-2)
    assert_close(one.facts, torch.tensor(expected), rtol=0, atol=1e-6)


def test_no_noise_and_one_frame_have_facts_too():
    encoding, kspace, calibrated, _ = scene(n_frames=1)
    facts = prepare(encoding, kspace, calibrated, 0.0).facts
    assert facts[0] == pytest.approx((-6 + 2) / 2)
    assert facts[4] == 0
    full = replace(encoding, mask=torch.ones_like(encoding.mask))
    facts = prepare(
        full, full.forward(gaussian(1, 12, 10).to(torch.complex64)), calibrated, 0
    ).facts
    assert facts[1] == facts[2] == -1
    assert facts[5] == pytest.approx((-4 + 1.5) / 1.5)  # nothing to change


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_an_object_of_few_pixels_has_a_scale_too(factor):
    maps = torch.ones(1, 1, 16, 16, dtype=torch.complex64)
    encoding = CartesianEncoding(maps, torch.ones(1, 1, 16, 1).bool(), Y_ONLY)
    image = torch.zeros(1, 16, 16, dtype=torch.complex64)
    image[0, 8, 8] = 3 * factor
    given = prepare(encoding, encoding.forward(image), encoding.mask, 0.0)
    assert given.scale == pytest.approx(3 * factor, rel=1e-3)


def test_kspace_of_zeros_gives_an_input_of_zeros():
    encoding, kspace, calibrated, _ = scene()
    one = prepare(encoding, torch.zeros_like(kspace), calibrated, 0.0)
    assert one.scale == 1
    assert not one.start.any()
    assert one.facts.isfinite().all()


def test_all_of_an_input_goes_to_a_device():
    one = given().to("meta")
    tensors = [value for value in vars(one).values() if isinstance(value, torch.Tensor)]
    assert len(tensors) == 6
    assert all(value.is_meta for value in tensors)
    assert one.axes == Y_ONLY
