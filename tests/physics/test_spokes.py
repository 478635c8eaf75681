"""Facts about pseudo-radial masks: where spokes lie, how they turn, and the official mask."""

import h5py
import pytest
import torch

from mrcli.errors import ShapeError
from mrcli.physics.patterns import centered_extent
from mrcli.physics.sampling import describe_sampling
from mrcli.physics.scattered import count_spokes
from mrcli.physics.spokes import kt_radial_spokes, spokes_per_frame
from realdata import real_file

OFFICIAL = "kspace/cmrxrecon2025_cine_lax_4ch_mask_ktRadial16.mat"
ONE_SPOKE = 300  # the acceleration of a single spoke per frame


def from_origin(n):
    return torch.arange(n).double() - n // 2


@pytest.mark.parametrize(("acceleration", "n_spokes"), [(8, 37), (16, 18), (24, 12), (300, 1)])
def test_spokes_are_180_over_six_tenths_of_the_acceleration(acceleration, n_spokes):
    assert spokes_per_frame(acceleration) == n_spokes


@pytest.mark.parametrize(("acceleration", "n_spokes"), [(8, 37), (16, 18), (24, 12)])
@pytest.mark.parametrize("matrix", [(198, 442), (149, 331), (150, 331), (149, 330)])
def test_so_many_spokes_are_drawn_in_every_frame(matrix, acceleration, n_spokes):
    mask = kt_radial_spokes(3, matrix, acceleration)
    assert mask.shape == (3, 1, *matrix)
    assert [count_spokes(frame) for frame in mask] == [n_spokes] * 3


@pytest.mark.parametrize("matrix", [(40, 61), (41, 60)])
@pytest.mark.parametrize("n_acs", [7, 8])
def test_a_square_block_around_the_origin_is_full_in_every_frame(matrix, n_acs):
    mask = kt_radial_spokes(2, matrix, ONE_SPOKE, n_acs)
    y, x = (slice(*centered_extent(n, n_acs)) for n in matrix)
    assert mask[..., y, x].all()
    spokes = kt_radial_spokes(2, matrix, ONE_SPOKE, 0)
    spokes[..., y, x] = True
    assert torch.equal(mask, spokes)


@pytest.mark.parametrize("n_y", [40, 41])
def test_first_spoke_of_an_odd_square_is_the_column_of_the_origin(n_y):
    mask = kt_radial_spokes(1, (n_y, 61), ONE_SPOKE, 0)
    assert torch.equal(mask, (from_origin(61) == 0).expand(1, 1, n_y, 61))


@pytest.mark.parametrize("n_y", [40, 41])
def test_first_and_last_spoke_of_an_even_square_are_the_columns_beside_its_middle(n_y):
    mask = kt_radial_spokes(1, (n_y, 60), ONE_SPOKE, 0)
    columns = (from_origin(60) == -1) | (from_origin(60) == 0)
    assert torch.equal(mask, columns.expand(1, 1, n_y, 60))


@pytest.mark.parametrize(("matrix", "row"), [((41, 61), 20), ((40, 61), 20), ((40, 60), 19)])
def test_an_even_number_of_spokes_holds_the_whole_readout_line(matrix, row):
    mask = kt_radial_spokes(1, matrix, 16, 0)
    assert mask[0, 0, row].all()
    assert mask[0, 0].all(-1).sum() == 1


def test_five_spokes_in_a_small_even_square_are_written_down():
    drawn = kt_radial_spokes(1, (8, 8), 75, 0)[0, 0]  # 0, 45, 90, 135 and 180 degrees
    expected = [
        "...##...",
        "..#####.",  # at 45 degrees the samples midway are taken here
        "...###..",
        "########",
        "..####..",  # and not here; at 135 degrees nowhere
        ".#.##.#.",
        "...##...",
        "...##...",
    ]
    assert ["".join(".#"[int(s)] for s in row) for row in drawn] == expected


@pytest.mark.parametrize(("frame", "is_rising"), [(18, False), (54, True)])  # 315 and 225 degrees
def test_samples_midway_are_taken_below_the_horizon(frame, is_rising):
    drawn = kt_radial_spokes(55, (8, 8), ONE_SPOKE, 0)[frame, 0]
    y = torch.arange(8)[:, None] - 3.5
    x = torch.arange(8) - 3.5
    across, along = (x + y, y - x) if is_rising else (x - y, x + y)
    assert torch.equal(drawn, (across.abs() <= 1) & (along.abs() <= 4 * 2**0.5))


def test_spokes_end_on_the_circle_that_touches_the_square():
    mask = kt_radial_spokes(4, (61, 61), 8, 0)
    radius = torch.hypot(*torch.meshgrid(from_origin(61), from_origin(61), indexing="ij"))
    reach = radius.expand(4, 1, 61, 61)[mask]
    assert 30 <= reach.max() <= 31
    assert mask[:, :, :5, :5].sum() == 0


@pytest.mark.parametrize("side", [60, 61])
def test_a_narrow_matrix_is_cut_out_of_the_square_around_the_origin(side):
    square = kt_radial_spokes(3, (side, side), 16, 0)
    for n in (40, 41):
        part = slice(*centered_extent(side, n))
        assert torch.equal(kt_radial_spokes(3, (n, side), 16, 0), square[:, :, part])
        assert torch.equal(kt_radial_spokes(3, (side, n), 16, 0), square[..., part])


def test_odd_matrices_are_the_same_from_both_ends():
    mask = kt_radial_spokes(5, (41, 61), 8, 9)
    assert torch.equal(mask, mask.flip(-1, -2))


def test_the_first_frame_is_its_own_mirror_image_along_the_readout():
    mask = kt_radial_spokes(1, (40, 60), 16, 0)
    assert torch.equal(mask, mask.flip(-1))


def test_a_frame_is_turned_by_137_and_a_half_degrees_from_the_one_before():
    n = 101
    mask = kt_radial_spokes(4, (n, n), ONE_SPOKE, 0)[:, 0]
    y, x = torch.meshgrid(from_origin(n), from_origin(n), indexing="ij")
    for frame, turn in enumerate([0.0, 137.5, 275.0, 52.5]):
        angle = torch.tensor(turn).double().deg2rad()
        distance = (x * angle.cos() + y * angle.sin()).abs()
        inside = torch.hypot(x, y) < n / 2
        assert torch.equal(mask[frame] & inside, (distance < 0.5) & inside)


def test_36_frames_are_a_quarter_turn_and_144_are_whole_turns():
    mask = kt_radial_spokes(145, (9, 9), ONE_SPOKE, 0)[:, 0]
    assert torch.equal(mask[36], mask[0].T)
    assert not torch.equal(mask[36], mask[0])
    assert torch.equal(mask[144], mask[0])


def test_all_samples_but_ten_ties_are_those_of_the_official_mask():
    with h5py.File(real_file(OFFICIAL)) as file:
        official = torch.from_numpy(file["mask"][()] > 0)
    drawn = kt_radial_spokes(12, (198, 442), 16)[:, 0]
    frame, y, x = (drawn != official).nonzero().unbind(-1)
    assert frame.tolist() == [2] * 5 + [10] * 5
    assert torch.equal(y - 98.5, 220.5 - x)  # on the diagonal: midway between two rows
    assert describe_sampling(official[:, None], 442).true_acceleration == pytest.approx(
        14.754, abs=5e-4
    )
    assert describe_sampling(drawn[:, None], 442).true_acceleration == pytest.approx(
        14.754, abs=4e-3
    )


@pytest.mark.parametrize(("acceleration", "n_acs"), [(0, 4), (8, 25), (8, -1)])
def test_impossible_spokes_are_refused(acceleration, n_acs):
    with pytest.raises(ShapeError, match="no pattern of acceleration"):
        kt_radial_spokes(1, (24, 40), acceleration, n_acs)


def test_an_acceleration_that_leaves_no_spoke_is_refused():
    with pytest.raises(ShapeError, match="no spoke is left at acceleration 301"):
        kt_radial_spokes(1, (24, 40), 301, 4)
