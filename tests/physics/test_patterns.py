"""Facts about the undersampling patterns: which lines, and how many, by their rules."""

import pytest
import torch

from mrcli.errors import ShapeError
from mrcli.physics.patterns import (
    centered_extent,
    kt_gaussian_density,
    kt_gaussian_lines,
    lines_per_frame,
    shifted_uniform_lines,
    uniform_lines,
)

for_odd_and_even = pytest.mark.parametrize("n_y", [87, 118])


def lines_of(mask, frame=0):
    return mask[frame, 0, :, 0].nonzero().flatten().tolist()


@pytest.mark.parametrize(
    ("n", "length", "extent"),
    [(118, 20, (49, 69)), (87, 20, (33, 53)), (8, 3, (3, 6)), (7, 3, (2, 5)), (5, 5, (0, 5))],
)
def test_extent_around_the_origin_starts_at_half_n_minus_half_length(n, length, extent):
    assert centered_extent(n, length) == extent


def test_uniform_lines_are_the_lattice_and_the_acs():
    assert lines_of(uniform_lines(24, 5, 4)) == [0, 5, 10, 11, 12, 13, 15, 20]
    assert lines_of(uniform_lines(24, 5, 0, offset=7)) == [2, 7, 12, 17, 22]
    assert uniform_lines(24, 5, 4).shape == (1, 1, 24, 1)


def test_shifted_lattice_moves_by_one_line_per_frame_and_covers_all():
    mask = shifted_uniform_lines(4, 12, 4, 0)
    assert [lines_of(mask, frame)[0] for frame in range(4)] == [0, 1, 2, 3]
    assert mask.sum(0).eq(1).all()


@for_odd_and_even
@pytest.mark.parametrize("acceleration", [8, 16, 24])
def test_kt_gaussian_draws_the_stated_number_of_different_lines(n_y, acceleration):
    mask = kt_gaussian_lines(5, n_y, acceleration, 0, seed=3)
    assert mask.sum((1, 2, 3)).tolist() == [lines_per_frame(n_y, acceleration)] * 5
    assert not torch.equal(mask[0], mask[1])


def test_all_lines_are_drawn_at_acceleration_one():
    assert kt_gaussian_lines(2, 13, 1, 0, seed=0).all()


def test_half_a_line_is_rounded_up():
    assert lines_per_frame(20, 8) == 3
    assert lines_per_frame(118, 24) == 5
    assert lines_per_frame(3, 24) == 1


@for_odd_and_even
def test_density_is_a_gaussian_of_a_fifth_on_a_floor(n_y):
    density = kt_gaussian_density(n_y)
    k = torch.arange(n_y, dtype=torch.float64) - n_y // 2
    expected = 0.1 + 0.25 * torch.exp(-25 * k**2 / n_y**2)
    torch.testing.assert_close(density, expected / expected.sum(), rtol=0, atol=1e-15)


def test_random_lines_follow_the_density():
    counts = kt_gaussian_lines(2000, 40, 20, 0, seed=1).sum(0).flatten().double()
    outer, inner = counts[:8].sum(), counts[16:24].sum()
    density = kt_gaussian_density(40)
    assert float(inner / outer) == pytest.approx(
        float(density[16:24].sum() / density[:8].sum()), rel=0.15
    )


def test_the_same_seed_draws_the_same_lines():
    first, again = (kt_gaussian_lines(3, 60, 6, seed=5) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, kt_gaussian_lines(3, 60, 6, seed=6))


@pytest.mark.parametrize(("acceleration", "n_acs"), [(0, 4), (4, 25), (4, -1)])
def test_impossible_patterns_are_refused(acceleration, n_acs):
    with pytest.raises(ShapeError, match="no pattern of acceleration"):
        uniform_lines(24, acceleration, n_acs)


def test_a_line_drawn_twice_moves_to_the_nearest_free_one():
    n_y, n_lines, n_frames = 5, 2, 3000  # few enough to write down all draws
    density = kt_gaussian_density(n_y)
    expected = torch.zeros(n_y, dtype=torch.float64)
    for first in range(n_y):
        for second in range(n_y):
            beside = first - 1 if first > 0 else first + 1  # of two as near, the lower one
            for line in (first, beside if second == first else second):
                expected[line] += density[first] * density[second]
    counted = kt_gaussian_lines(n_frames, n_y, 3, 0, seed=2).double().mean(0).flatten()
    assert lines_per_frame(n_y, 3) == n_lines
    torch.testing.assert_close(counted, expected, rtol=0, atol=0.02)
