"""Facts that a mask tells about itself, on masks whose truth is known."""

import h5py
import numpy as np
import pytest
import torch

from mrcli.physics.patterns import (
    centered_extent,
    kt_gaussian_lines,
    shifted_uniform_lines,
    uniform_lines,
)
from mrcli.physics.sampling import (
    Acs,
    Pattern,
    describe_sampling,
    find_acs,
    infer_mask,
    union_over_frames,
)
from realdata import DATA

UNIFORM_MASKS = DATA / "cmrxrecon2025_uniform_masks.npz"
RADIAL_MASK = DATA / "kspace" / "cmrxrecon2025_cine_lax_4ch_mask_ktRadial16.mat"
POISSON_BRAIN = DATA / "kspace" / "sigpy_brain_8ch.npy"
MASK_2024 = DATA / "kspace" / "cmrxrecon2024_cine_sax_mask_Uniform8.mat"
for_odd_and_even = pytest.mark.parametrize("n_y", [87, 118])


def needs(path):
    return pytest.mark.skipif(not path.exists(), reason=f"{path.name} is not there")


def lines(n_y, *indices):
    mask = torch.zeros(1, 1, n_y, 1, dtype=torch.bool)
    mask[..., list(indices), :] = True
    return mask


def spokes(n_frames, n_y, n_x, n_spokes):
    """Spokes with a sample per step of the longer axis, turning from frame to frame."""
    mask = torch.zeros(n_frames, 1, n_y, n_x, dtype=torch.bool)
    reach = torch.arange(-max(n_y, n_x), max(n_y, n_x) + 1)
    for frame in range(n_frames):
        for spoke in range(n_spokes):
            angle = torch.pi * torch.tensor((spoke + 0.3 * frame + 0.1) / n_spokes).double()
            longest = max(angle.cos().abs(), angle.sin().abs())
            y = (reach * angle.sin() / longest).round().long() + n_y // 2
            x = (reach * angle.cos() / longest).round().long() + n_x // 2
            inside = (y >= 0) & (y < n_y) & (x >= 0) & (x < n_x)
            mask[frame, 0, y[inside], x[inside]] = True
    return mask


@needs(UNIFORM_MASKS)
@pytest.mark.parametrize("with_readout", [False, True])
def test_all_official_uniform_masks_are_recognised_exactly(with_readout):
    with np.load(UNIFORM_MASKS) as masks:
        assert len(masks) == 18
        for key, sampled in masks.items():
            nominal = int(key.removeprefix("Uniform").split("_")[0])
            mask = torch.from_numpy(sampled)[None, None, :, None]
            assert torch.equal(mask, uniform_lines(len(sampled), nominal))
            shown = mask.expand(-1, -1, -1, 16) if with_readout else mask
            found = describe_sampling(shown, 16)
            assert (found.pattern, found.nominal_acceleration) == (Pattern.UNIFORM, nominal)
            assert found.true_acceleration == pytest.approx(len(sampled) / sampled.sum(), abs=1e-9)
            assert found.acs == Acs(centered_extent(len(sampled), 20), None)
            assert not found.is_partial_fourier


@needs(RADIAL_MASK)
def test_the_official_radial_mask_has_18_spokes_and_a_square_acs():
    with h5py.File(RADIAL_MASK) as file:
        mask = torch.from_numpy(file["mask"][()] > 0)[:, None]
    found = describe_sampling(mask, 442)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.KT_RADIAL, 16)
    assert found.true_acceleration == pytest.approx(1 / 0.06778, abs=0.01)
    assert found.acs == Acs((89, 109), (211, 231))
    assert describe_sampling(mask[:1], 442).pattern is Pattern.RADIAL


@needs(MASK_2024)
def test_the_official_2024_mask_has_16_acs_lines_beside_a_lattice_line():
    with h5py.File(MASK_2024) as file:
        mask = torch.from_numpy(file["mask"][()] > 0)[None, None]
    found = describe_sampling(mask, 512)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.UNIFORM, 8)
    assert found.true_acceleration == pytest.approx(246 / 45)
    assert found.acs == Acs((115, 131), None)


@for_odd_and_even
def test_everything_sampled_is_full_and_all_acs(n_y):
    found = describe_sampling(torch.ones(3, 1, n_y, 5, dtype=torch.bool), 5)
    assert (found.pattern, found.is_fully_sampled) == (Pattern.FULL, True)
    assert (found.nominal_acceleration, found.true_acceleration) == (1, 1)
    assert found.acs == Acs((0, n_y), None)


@for_odd_and_even
@pytest.mark.parametrize("acceleration", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("offset", [0, 1])
def test_lattice_spacing_is_exact_with_and_without_acs(n_y, acceleration, offset):
    for n_acs in (0, 24):
        mask = uniform_lines(n_y, acceleration, n_acs, offset=offset)
        found = describe_sampling(mask, 9)
        assert (found.pattern, found.nominal_acceleration) == (Pattern.UNIFORM, acceleration)
        assert (found.acs is None) == (n_acs == 0)


@pytest.mark.parametrize("side", [0, 1])
def test_a_lattice_line_beside_the_acs_is_not_counted_to_it(side):
    neighbor = (48, 69)[side]  # the ACS is 49 to 68
    found = describe_sampling(uniform_lines(118, 8, offset=neighbor % 8), 4)
    assert found.acs == Acs((49, 69), None)


def test_an_acs_off_center_is_reported_where_it_is():
    mask = lines(64, *range(0, 64, 4), *range(26, 47))
    found = describe_sampling(mask, 4)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.UNIFORM, 4)
    assert found.acs == Acs((26, 47), None)


def test_a_lattice_rounded_to_whole_lines_has_its_mean_spacing():
    exact = [round(4.4 * i) for i in range(23)]
    found = describe_sampling(lines(100, *exact, *range(46, 54)), 4)
    assert found.pattern is Pattern.UNIFORM
    assert found.nominal_acceleration == pytest.approx(4.4, abs=0.15)


@for_odd_and_even
def test_a_lattice_that_moves_with_the_frame_is_told_from_a_fixed_one(n_y):
    found = describe_sampling(shifted_uniform_lines(6, n_y, 5), 4)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.SHIFTED_UNIFORM, 5)
    assert found.acs == Acs(centered_extent(n_y, 20), None)
    moving = shifted_uniform_lines(6, n_y, 5, 0)
    assert describe_sampling(moving, 4).acs is None
    assert find_acs(union_over_frames(moving)) == Acs((0, n_y), None)


@pytest.mark.parametrize("acceleration", [8, 16, 24])
@pytest.mark.parametrize("n_y", [149, 246])
def test_random_lines_of_every_frame_tell_their_published_acceleration(n_y, acceleration):
    found = describe_sampling(kt_gaussian_lines(12, n_y, acceleration, seed=4), 4)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.KT_GAUSSIAN, acceleration)
    assert found.acs == Acs(centered_extent(n_y, 20), None)


def test_few_random_lines_do_not_tell_an_acceleration():
    found = describe_sampling(kt_gaussian_lines(2, 60, 24, seed=4), 4)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.KT_GAUSSIAN, None)


def test_random_lines_that_all_frames_share_are_random():
    found = describe_sampling(kt_gaussian_lines(1, 118, 6, seed=2).expand(4, 1, 118, 1), 4)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.RANDOM, None)


@for_odd_and_even
def test_three_quarters_of_k_space_are_partial_fourier(n_y):
    start = n_y // 4
    found = describe_sampling(lines(n_y, *range(start, n_y)), 4)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.PARTIAL_FOURIER, 1)
    assert found.true_acceleration == pytest.approx(n_y / (n_y - start))
    assert found.is_partial_fourier
    assert found.acs == Acs((start, n_y), None)


def test_a_lattice_that_misses_one_side_stays_uniform_and_says_so():
    mask = uniform_lines(128, 4)
    mask[:, :, :32] = False
    found = describe_sampling(mask, 4)
    assert (found.pattern, found.is_partial_fourier) == (Pattern.UNIFORM, True)


def test_an_asymmetric_echo_is_partial_fourier_along_the_readout():
    mask = uniform_lines(64, 4, 16).expand(1, 1, 64, 40).clone()
    mask[..., :12] = False
    found = describe_sampling(mask, 40)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.UNIFORM, 4)
    assert found.is_partial_fourier
    assert found.acs == Acs((24, 40), (12, 40))


def test_a_block_that_misses_both_sides_alike_is_reduced_resolution():
    found = describe_sampling(lines(64, *range(16, 48)), 4)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.REDUCED_RESOLUTION, 1)
    assert not found.is_partial_fourier


def test_one_line_at_the_origin_is_no_acs_and_no_pattern():
    found = describe_sampling(lines(64, 32), 4)
    assert (found.pattern, found.nominal_acceleration, found.acs) == (Pattern.UNKNOWN, None, None)
    assert found.true_acceleration == 64


def test_three_lines_are_no_acs_and_four_are():
    assert find_acs(lines(64, 0, 8, 31, 32, 33)) is None
    assert find_acs(lines(64, 0, 8, 30, 31, 32, 33)) == Acs((30, 34), None)


def test_a_block_beside_the_origin_is_no_acs():
    assert find_acs(lines(64, *range(33, 53))) is None


def test_an_empty_mask_has_no_pattern():
    found = describe_sampling(torch.zeros(2, 1, 8, 1, dtype=torch.bool), 4)
    assert (found.pattern, found.acs) == (Pattern.UNKNOWN, None)


def test_an_empty_frame_counts_for_the_true_acceleration_only():
    mask = uniform_lines(64, 4).expand(4, 1, 64, 1).clone()
    mask[1] = False
    found = describe_sampling(mask, 4)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.UNIFORM, 4)
    full = describe_sampling(uniform_lines(64, 4), 4).true_acceleration
    assert found.true_acceleration == pytest.approx(full * 4 / 3)


@pytest.mark.parametrize(("n_spokes", "acceleration"), [(37, 8), (18, 16), (12, 24)])
@pytest.mark.parametrize("matrix", [(150, 220), (151, 121)])
def test_spokes_are_counted_and_tell_their_published_acceleration(n_spokes, acceleration, matrix):
    found = describe_sampling(spokes(2, *matrix, n_spokes), matrix[1])
    assert (found.pattern, found.nominal_acceleration) == (Pattern.KT_RADIAL, acceleration)
    fixed = describe_sampling(spokes(1, *matrix, n_spokes).expand(3, 1, *matrix), matrix[1])
    assert fixed.pattern is Pattern.RADIAL


def test_scattered_samples_are_random_points():
    mask = torch.rand(2, 1, 90, 80, generator=torch.Generator().manual_seed(0)) < 0.15
    mask[:, :, 35:55, 30:50] = True
    found = describe_sampling(mask, 80)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.RANDOM_POINTS, None)
    assert found.acs == Acs((35, 55), (30, 50))


def test_points_that_touch_each_other_and_points_on_a_lattice_are_no_random_points():
    dense = torch.rand(1, 1, 90, 80, generator=torch.Generator().manual_seed(0)) < 0.4
    y, x = torch.meshgrid(torch.arange(90), torch.arange(80), indexing="ij")
    staggered = ((y % 2 == 0) & ((x + y) % 4 == 0))[None, None].clone()
    staggered[..., 35:55, 30:50] = True
    assert describe_sampling(dense, 80).pattern is Pattern.UNKNOWN
    assert describe_sampling(staggered, 80).pattern is Pattern.UNKNOWN


@needs(POISSON_BRAIN)
def test_a_real_poisson_disc_is_random_points_around_a_square_acs():
    mask = infer_mask(torch.from_numpy(np.load(POISSON_BRAIN))[None])
    found = describe_sampling(mask, 180)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.RANDOM_POINTS, None)
    assert found.true_acceleration == pytest.approx(1 / 0.12434782608695652)
    assert found.acs == Acs((103, 127), (78, 102))


@pytest.mark.parametrize("acceleration", range(2, 9))
def test_spacing_and_acs_are_exact_by_both_rules_of_centering(acceleration):
    for n_y in range(80, 131):
        for mask, blocks in lattices_with_acs(n_y, acceleration).items():
            found = describe_sampling(torch.tensor(mask)[None, None, :, None], 4)
            assert (found.pattern, found.nominal_acceleration) == (Pattern.UNIFORM, acceleration)
            assert found.acs is not None
            assert found.acs.y in blocks
            assert not found.is_partial_fourier


def lattices_with_acs(n_y, acceleration):
    """Masks, and the blocks that make each: one mask may come of either rule of centering."""
    made, index = {}, torch.arange(n_y)
    for length in (16, 20, 24):
        for start in (n_y // 2 - length // 2, (n_y - length + 1) // 2):
            block = (index >= start) & (index < start + length)
            mask = tuple((block | (index % acceleration == 0)).tolist())
            made.setdefault(mask, set()).add((start, start + length))
    return made


def test_a_lattice_line_beside_an_acs_off_center_is_not_counted_to_it():
    found = describe_sampling(lines(83, *range(0, 83, 2), *range(34, 50)), 4)
    assert (found.nominal_acceleration, found.acs) == (2, Acs((34, 50), None))
    found = describe_sampling(lines(108, *range(27, 108, 4), *range(37, 55)), 4)
    assert (found.nominal_acceleration, found.acs) == (4, Acs((37, 55), None))
    assert found.is_partial_fourier


def test_lattice_lines_on_both_sides_of_the_acs_are_not_counted_to_it():
    found = describe_sampling(lines(84, *range(1, 84, 3), *range(32, 52)), 4)  # 31 and 52 are
    assert (found.nominal_acceleration, found.acs) == (3, Acs((32, 52), None))


def test_a_shortened_acs_holds_the_origin():
    mask = lines(64, *range(0, 64, 8), *range(32, 37))  # 33 to 36 would be four lines
    assert find_acs(mask) == Acs((32, 37), None)


def test_an_empty_frame_does_not_hide_full_sampling():
    mask = torch.ones(3, 1, 48, 1, dtype=torch.bool)
    mask[1] = False
    found = describe_sampling(mask, 4)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.FULL, 1)
    assert found.true_acceleration == 1.5


@for_odd_and_even
def test_calibration_lines_of_one_frame_only_do_not_hide_the_lattice(n_y):
    mask = uniform_lines(n_y, 3, 0).expand(3, 1, n_y, 1).clone()
    start, stop = centered_extent(n_y, 16)
    mask[0, :, start:stop] = True
    found = describe_sampling(mask, 4)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.UNIFORM, 3)
    assert found.acs is None
    assert find_acs(union_over_frames(mask)) == Acs((start, stop), None)


def test_columns_with_gaps_are_no_line_pattern():
    mask = uniform_lines(64, 4).transpose(-1, -2).expand(1, 1, 30, 64)
    assert describe_sampling(mask, 64).pattern is Pattern.UNKNOWN


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_exact_zeros_become_a_line_mask_at_any_scale(scale):
    mask = uniform_lines(20, 3, 4)
    kspace = torch.full((2, 3, 20, 7), scale, dtype=torch.complex64) * mask
    kspace[0, :, 3, 2] = 0  # by chance
    kspace[0, 0, 6, :] = 0  # one coil only
    assert infer_mask(torch.where(mask, kspace, 0)).shape == (2, 1, 20, 7)
    kspace[0, :, 3, 2] = scale
    assert torch.equal(infer_mask(kspace), mask.expand(2, 1, 20, 1))


def test_a_few_zeros_by_chance_do_not_break_a_line():
    kspace = torch.ones(1, 1, 8, 20, dtype=torch.complex64)
    kspace[0, 0, 3, 4:6] = 0
    assert torch.equal(infer_mask(kspace), torch.ones(1, 1, 8, 1, dtype=torch.bool))


@pytest.mark.parametrize("step", [1e-6, 1.0, 16.0])
def test_values_in_few_steps_are_zero_by_chance_and_their_lines_are_whole(step):
    noise = torch.randn(1, 1, 41, 60, 2, generator=torch.Generator().manual_seed(0)) * 0.6
    noise[0, 0, 20, 30] = 200
    kspace = torch.view_as_complex(noise.round() * step)
    assert float((kspace == 0).float().mean()) > 0.25
    assert torch.equal(infer_mask(kspace), torch.ones(1, 1, 41, 1, dtype=torch.bool))
    mask = uniform_lines(41, 3, 8)
    assert torch.equal(infer_mask(torch.where(mask, kspace, 0)), mask)
    turned = spokes(1, 41, 60, 9)
    assert infer_mask(torch.where(turned, kspace, 0)).shape == (1, 1, 41, 60)


def test_zeros_between_spokes_become_a_mask_of_samples():
    mask = spokes(2, 40, 30, 9)
    assert torch.equal(infer_mask(mask * torch.ones(2, 3, 40, 30, dtype=torch.complex64)), mask)


def test_spacing_is_found_where_the_acs_hides_all_but_two_lines():
    found = describe_sampling(uniform_lines(55, 24), 4)  # 24 lies in the ACS, 17 to 36
    assert (found.pattern, found.nominal_acceleration) == (Pattern.UNIFORM, 24)


def test_two_lines_alone_are_no_lattice():
    assert describe_sampling(lines(64, 10, 40), 4).pattern is Pattern.RANDOM
    beside_acs = lines(64, 14, *range(22, 42), 44)  # 14, 24, 34, 44 would be one by chance
    assert describe_sampling(beside_acs, 4).pattern is Pattern.RANDOM


@pytest.mark.parametrize(("y", "x"), [((9, 14), (13, 20)), ((8, 14), (12, 20))])
def test_a_centered_block_may_have_odd_or_even_sides(y, x):
    mask = spokes(1, 23, 32, 9)
    mask[..., y[0] : y[1], x[0] : x[1]] = True
    mask[..., y[0] - 1 : y[1] + 1, x[1]] = mask[..., y[1], x[0] : x[1]] = False
    mask[..., y[0] - 1, x[0]] = mask[..., y[0], x[0] - 1] = False
    assert find_acs(mask) == Acs(y, x)
