"""Facts about the line patterns of clinics, and about patterns that are drawn by their name."""

import pytest
import torch

from mrcli.errors import InputError, ShapeError
from mrcli.physics.line_patterns import (
    full_lines,
    partial_fourier,
    polynomial_density,
    variable_density_lines,
)
from mrcli.physics.pattern_names import DRAWN_PATTERNS, draw_mask, parse_pattern
from mrcli.physics.patterns import centered_extent, kt_gaussian_lines, uniform_lines
from mrcli.physics.sampling import Acs, Pattern, describe_sampling

for_odd_and_even = pytest.mark.parametrize("n_y", [87, 118])
TRUE_ACCELERATIONS = {  # of Uniform 8, 16, 24 with 20 ACS lines
    118: (3.6, 4.4, 4.7),
    149: (4.1, 5.3, 5.7),
    198: (4.6, 6.2, 7.1),
    246: (5.0, 7.0, 8.2),
}


def lines_of(mask):
    return mask[0, 0, :, 0].nonzero().flatten().tolist()


@for_odd_and_even
def test_full_lines_are_full(n_y):
    assert describe_sampling(full_lines(n_y), 4).pattern is Pattern.FULL
    assert full_lines(n_y).shape == (1, 1, n_y, 1)


@for_odd_and_even
def test_polynomial_density_is_a_parabola_that_ends_one_line_outside(n_y):
    density = polynomial_density(n_y)
    k = torch.arange(n_y, dtype=torch.float64) - n_y // 2
    expected = (n_y // 2 + 1 - k.abs()) ** 2
    torch.testing.assert_close(density, expected / expected.sum(), rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("n_y", "acceleration", "n_acs", "n_outside"),
    [(118, 8, 20, 12), (118, 2, 20, 49), (87, 4, 7, 20), (87, 2, 20, 34), (30, 24, 20, 1)],
)
def test_one_line_in_r_is_drawn_outside_the_acs(n_y, acceleration, n_acs, n_outside):
    mask = variable_density_lines(n_y, acceleration, n_acs, seed=0)
    start, stop = centered_extent(n_y, n_acs)
    assert mask[:, :, start:stop].all()
    assert int(mask.sum()) == n_acs + n_outside


def test_nothing_is_left_to_draw_at_acceleration_one_or_in_an_acs_of_all_lines():
    assert variable_density_lines(31, 1, 8, seed=0).all()
    assert variable_density_lines(31, 4, 31, seed=0).all()


@for_odd_and_even
def test_first_line_drawn_follows_the_polynomial_density(n_y):
    n_draws = 4000
    drawn = torch.stack(
        [variable_density_lines(n_y, n_y, 0, seed=s).flatten() for s in range(n_draws)]
    )
    nearer = (torch.arange(n_y) - n_y // 2).abs() <= n_y // 4
    expected = float(polynomial_density(n_y)[nearer].sum())  # about 7 in 8
    assert float(drawn[:, nearer].sum()) / n_draws == pytest.approx(expected, abs=0.025)


def test_the_same_seed_draws_the_same_lines_of_variable_density():
    first, again = (variable_density_lines(118, 6, seed=5) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, variable_density_lines(118, 6, seed=6))


def test_partial_fourier_keeps_a_fraction_of_the_axis_and_the_origin():
    mask = full_lines(8)
    assert lines_of(partial_fourier(mask, 0.75)) == [2, 3, 4, 5, 6, 7]
    assert lines_of(partial_fourier(mask, 0.75, keeps_start=True)) == [0, 1, 2, 3, 4, 5]
    assert lines_of(partial_fourier(full_lines(7), 0.7)) == [2, 3, 4, 5, 6]
    assert lines_of(partial_fourier(full_lines(7), 0.7, keeps_start=True)) == [0, 1, 2, 3, 4]


@for_odd_and_even
@pytest.mark.parametrize("keeps_start", [False, True])
@pytest.mark.parametrize("fraction", [0.625, 0.75, 0.875])
def test_partial_fourier_is_told_from_the_mask(n_y, fraction, keeps_start):
    found = describe_sampling(
        partial_fourier(full_lines(n_y), fraction, keeps_start=keeps_start), 4
    )
    assert (found.pattern, found.is_partial_fourier) == (Pattern.PARTIAL_FOURIER, True)
    assert found.true_acceleration == pytest.approx(n_y / int(fraction * n_y + 0.5))


@for_odd_and_even
@pytest.mark.parametrize("keeps_start", [False, True])
def test_partial_fourier_leaves_the_pattern_inside_as_it_was(n_y, keeps_start):
    mask = uniform_lines(n_y, 4)
    cut = partial_fourier(mask, 0.75, keeps_start=keeps_start)
    found = describe_sampling(cut, 4)
    assert (found.pattern, found.nominal_acceleration) == (Pattern.UNIFORM, 4)
    assert (found.is_partial_fourier, found.acs) == (True, Acs(centered_extent(n_y, 20), None))
    assert torch.equal(cut | mask, mask)


def test_partial_fourier_takes_the_same_lines_from_every_frame_and_column():
    mask = kt_gaussian_lines(3, 60, 4, seed=1).expand(3, 1, 60, 5)
    cut = partial_fourier(mask, 0.7)
    assert not cut[:, :, :18].any()
    assert torch.equal(cut[:, :, 18:], mask[:, :, 18:])


def test_the_whole_axis_is_a_fraction_of_one():
    mask = uniform_lines(40, 4, 8)
    assert torch.equal(partial_fourier(mask, 1), mask)


@pytest.mark.parametrize("keeps_start", [False, True])
def test_partial_fourier_that_cuts_into_the_acs_is_refused(keeps_start):
    mask = uniform_lines(40, 7, 20, offset=3)  # the ACS is 10 to 29: 30 lines reach over it
    assert partial_fourier(mask, 30 / 40, keeps_start=keeps_start)[:, :, 10:30].all()
    with pytest.raises(ShapeError, match="cuts into the ACS"):
        partial_fourier(mask, 29 / 40, keeps_start=keeps_start)


@for_odd_and_even
@pytest.mark.parametrize("keeps_start", [False, True])
def test_the_smallest_fraction_keeps_the_origin_or_is_refused(n_y, keeps_start):
    mask = full_lines(n_y)
    assert partial_fourier(mask, 0.52, keeps_start=keeps_start)[0, 0, n_y // 2, 0]
    if n_y % 2 == 0 and keeps_start:  # half of the lines end before the origin
        with pytest.raises(ShapeError, match="cuts into the ACS"):
            partial_fourier(mask, 0.501, keeps_start=True)


@pytest.mark.parametrize("fraction", [0.5, 0.2, 1.01, 0.0, float("nan")])
def test_fractions_of_half_or_less_or_above_one_are_refused(fraction):
    with pytest.raises(ShapeError, match="no partial Fourier with a fraction of"):
        partial_fourier(full_lines(16), fraction)


@pytest.mark.parametrize("n_y", TRUE_ACCELERATIONS)
def test_true_acceleration_of_uniform_lines_is_the_listed_one(n_y):
    for nominal, listed in zip((8, 16, 24), TRUE_ACCELERATIONS[n_y], strict=True):
        mask = draw_mask("Uniform", nominal, n_frames=1, matrix=(n_y, 4), seed=0)
        assert round(describe_sampling(mask, 4).true_acceleration, 1) == listed


@pytest.mark.parametrize("matrix", [(149, 330), (198, 442), (149, 331), (246, 441)])
@pytest.mark.parametrize("acceleration", [8, 16, 24])
@pytest.mark.parametrize("name", DRAWN_PATTERNS)
def test_a_mask_that_is_drawn_by_name_tells_its_name(name, acceleration, matrix):
    mask = draw_mask(str(name), acceleration, n_frames=12, matrix=matrix, seed=4)
    found = describe_sampling(mask, matrix[1])
    y, x = (centered_extent(n, 20) for n in matrix)
    assert found.pattern is name
    assert found.nominal_acceleration == (None if name is Pattern.RANDOM else acceleration)
    if name is not Pattern.RANDOM:  # its lines may touch the ACS: the mask does not tell
        assert found.acs == Acs(y, x if name is Pattern.KT_RADIAL else None)


@pytest.mark.parametrize("n_acs", [16, 24])
@pytest.mark.parametrize("name", DRAWN_PATTERNS)
def test_a_mask_that_is_drawn_by_name_holds_the_acs_asked_for_and_no_more(name, n_acs):
    mask = draw_mask(str(name), 8, n_frames=6, matrix=(151, 331), n_acs=n_acs, seed=4)
    start, stop = centered_extent(151, n_acs)
    found = describe_sampling(mask, 331).acs.y
    assert found[0] <= start < stop <= found[1]
    assert found[1] - found[0] <= n_acs + 3  # lines may touch it


def test_the_seed_is_that_of_the_random_patterns():
    for name in DRAWN_PATTERNS:
        a, b = (draw_mask(name, 8, n_frames=3, matrix=(118, 60), seed=s) for s in (0, 1))
        assert torch.equal(a, b) == (name not in (Pattern.RANDOM, Pattern.KT_GAUSSIAN))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("Uniform8", ("Uniform", 8)),
        ("shifted-uniform4", ("shifted-uniform", 4)),
        ("ktGaussian16", ("ktGaussian", 16)),
        ("ktRadial16", ("ktRadial", 16)),
        ("random10", ("random", 10)),
    ],
)
def test_a_pattern_is_its_name_and_its_acceleration(text, parsed):
    assert parse_pattern(text) == parsed
    assert type(parse_pattern(text)[0]) is str


@pytest.mark.parametrize(
    "text", ["Uniform", "", "ktRadial-", "Uniform0", "8Uniform", "Uniform8.5x"]
)
def test_a_pattern_without_an_acceleration_is_refused(text):
    with pytest.raises(InputError, match=f"the pattern '{text}' has no acceleration") as refused:
        parse_pattern(text)
    assert "Uniform8" in refused.value.hint


@pytest.mark.parametrize(
    ("text", "name", "nearest"),
    [
        ("uniform8", "uniform", "Uniform"),
        ("ktRadal16", "ktRadal", "ktRadial"),
        ("Uniform2.5", "Uniform2.", "Uniform"),
        ("ktgaussian8", "ktgaussian", "ktGaussian"),
    ],
)
def test_an_unknown_pattern_is_refused_with_the_nearest_and_all_known(text, name, nearest):
    with pytest.raises(InputError, match=f"no pattern is called '{name}'") as refused:
        parse_pattern(text)
    assert refused.value.hint.startswith(f"did you mean '{nearest}'? known are Uniform, ")


def test_patterns_that_are_known_but_not_drawn_are_refused():
    with pytest.raises(InputError, match="no pattern is called 'radial'"):
        draw_mask("radial", 8, n_frames=1, matrix=(40, 40), seed=0)


def test_a_name_like_no_other_is_refused_with_all_known():
    with pytest.raises(InputError, match="no pattern is called ''") as refused:
        parse_pattern("16")
    assert refused.value.hint.startswith("known are Uniform, shifted-uniform, ")
