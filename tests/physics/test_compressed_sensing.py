"""Wavelets, cosines over frames and compressed sensing."""

import math

import pytest
import torch
from torch.testing import assert_close

from ellipses import PhantomSpec, simulate_kspace, simulate_maps, simulate_truth
from mrcli.physics import wavelet
from mrcli.physics.compressed_sensing import (
    cosine_transform,
    shrinkage,
    solve_compressed_sensing,
)
from mrcli.physics.encoding import CartesianEncoding, decouple_readout_
from mrcli.physics.sense import solve_sense
from mrcli.physics.wavelet import shrink, shrink_wavelets

EXACT = {"rtol": 0, "atol": 1e-12}


def gaussian(*shape, seed=0):
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("axis", [-1, -2])
def test_wavelets_are_orthonormal(axis):
    image = gaussian(2, 16, 12)
    low, high = wavelet._split(image, axis)
    assert_close(wavelet._merge(low, high, axis), image, **EXACT)
    energy = low.abs().square().sum() + high.abs().square().sum()
    assert_close(energy, image.abs().square().sum(), rtol=1e-12, atol=0)


def test_a_straight_line_has_no_detail_inside():
    """Two vanishing moments: only the jump where the periodic line starts again is detail."""
    line = torch.arange(16, dtype=torch.float64).expand(1, 1, 16).to(torch.complex128)
    _, high = wavelet._split(line, -1)
    assert_close(high[..., :-1], torch.zeros_like(high[..., :-1]), **EXACT)
    assert float(high[..., -1].abs()) > 1


def test_shrinkage_takes_the_threshold_off_the_magnitude_and_keeps_the_phase():
    values = torch.tensor([3 + 4j, 0.3 + 0.4j, 0], dtype=torch.complex128)
    expected = torch.tensor([2.4 + 3.2j, 0, 0], dtype=torch.complex128)
    assert_close(shrink(values, 1.0), expected, **EXACT)
    assert_close(shrink(values, 0.0), values, **EXACT)


@pytest.mark.parametrize("matrix", [(48, 32), (45, 31), (1, 5)])
@pytest.mark.parametrize("shift", [(0, 0), (3, 11)])
def test_a_threshold_of_zero_changes_nothing_at_any_size_and_shift(matrix, shift):
    image = gaussian(2, *matrix)
    assert_close(shrink_wavelets(image, 0.0, shift), image, **EXACT)


def test_a_constant_passes_any_threshold_since_it_has_no_detail():
    constant = torch.full((1, 32, 32), 2 + 1j, dtype=torch.complex128)
    assert_close(shrink_wavelets(constant, 100.0, (5, 7)), constant, **EXACT)


@pytest.mark.parametrize("n_frames", [1, 2, 5, 12])
def test_the_cosine_transform_is_orthonormal_and_starts_with_the_mean(n_frames):
    cosines = cosine_transform(n_frames)
    assert_close(cosines @ cosines.T, torch.eye(n_frames, dtype=torch.float64), **EXACT)
    assert_close(cosines[0], torch.full((n_frames,), n_frames**-0.5, dtype=torch.float64), **EXACT)


@pytest.mark.parametrize(("sign", "factor"), [(1, 1), (-1, 2)])
def test_what_changes_over_frames_loses_twice_the_threshold(sign, factor):
    """A chessboard of +-a is detail of 2 a everywhere, sqrt(2) times that over two frames."""
    signs = (torch.arange(32) % 2 * 2 - 1).to(torch.complex128)
    board = signs[:, None] * signs
    image, threshold = torch.stack([board, sign * board]), 0.125
    expected = (1 - factor * threshold / (2 * math.sqrt(2))) * image
    assert_close(shrinkage(2, threshold)(image), expected, rtol=0, atol=1e-12)


def study(n_frames, acceleration=4):
    spec = PhantomSpec(n_frames, 1, 6, matrix=(72, 80), voxel_size_mm=(4.2, 3.6, 8.0), snr=60)
    truth, maps = simulate_truth(spec), simulate_maps(spec)
    kspace = simulate_kspace(truth, maps, spec)[:, 0]
    mask = (torch.arange(72) % acceleration == 0) | ((torch.arange(72) - 36).abs() < 8)
    data, mask, axes = decouple_readout_(kspace * mask.view(1, 1, -1, 1), mask.view(1, 1, -1, 1))
    return truth[:, 0], CartesianEncoding(maps[None], mask, axes), data


def error(image, truth):
    return float((image - truth).norm() / truth.norm())


@pytest.mark.parametrize("n_frames", [1, 8])
def test_sparsity_lowers_the_error_of_sense_by_a_third(n_frames):
    truth, encoding, data = study(n_frames, acceleration=6)
    start = solve_sense(encoding, data, 0.01)
    image = solve_compressed_sensing(encoding, data, start, 1 / 60)
    assert error(image, truth) < 0.67 * error(start, truth)


def test_frames_help_each_other():
    truth, encoding, data = study(8, acceleration=6)
    start = solve_sense(encoding, data, 0.01)
    together = solve_compressed_sensing(encoding, data, start, 1 / 60)
    alone = [
        solve_compressed_sensing(encoding, data[f : f + 1], start[f : f + 1], 1 / 60)
        for f in range(8)
    ]
    assert error(together, truth) < 0.9 * error(torch.cat(alone), truth)


def test_the_same_input_gives_the_same_output():
    _, encoding, data = study(2)
    start = solve_sense(encoding, data, 0.01)
    once, again = (solve_compressed_sensing(encoding, data, start, 1 / 60) for _ in range(2))
    assert torch.equal(once, again)


def test_the_minimum_does_not_depend_on_the_scale():
    _, encoding, data = study(2)
    start = solve_sense(encoding, data, 0.01)
    image = solve_compressed_sensing(encoding, data, start, 1 / 60)
    scaled = solve_compressed_sensing(encoding, data * 2**20, start * 2**20, 2**20 / 60)
    assert_close(scaled, image * 2**20, rtol=1e-5, atol=0)
