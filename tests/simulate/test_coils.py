"""Coils: fields of currents in closed form, reciprocity, shared noise, compression."""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from mrcli.simulate import coils
from mrcli.simulate.body import draw_body
from mrcli.simulate.coils import CoilArray, Currents, circle, magnetic_field, vector_potential
from mrcli.simulate.heart import skin
from mrcli.simulate.planes import Plane
from mrcli.simulate.recipes import generator_of
from mrcli.simulate.shapes import Points

ARRAY = CoilArray(front=(2, 4), back=(3, 3), loop_radius_mm=60.0, gap_mm=28.0)
RADIUS_MM = 60.0


def vector(x, y, z):
    return torch.tensor([x, y, z], dtype=torch.float64)


def loop(center=(0.0, 0.0, 0.0), normal=(0.0, 0.0, 1.0), radius_mm=RADIUS_MM):
    one = circle(vector(*center), vector(*normal), radius_mm)
    return Currents(one.places[None], one.elements[None])


def places(*points):
    return Points(*torch.tensor(points, dtype=torch.float64).T)


def field(currents, p, **options):
    return torch.stack(magnetic_field(currents, p, **options), -1)[0]


def gaussian(*shape, seed=0):
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("z_mm", [-200.0, 0.0, 35.0, 60.0, 500.0])
def test_the_field_on_the_axis_of_a_loop_is_the_textbook_one(z_mm):
    normal = vector(1, -2, 0.5) / vector(1, -2, 0.5).norm()
    center = vector(10, 20, -30)
    on_axis = places((center + z_mm * normal).tolist())
    found = field(loop(center.tolist(), normal.tolist()), on_axis)[0]
    textbook = 2 * math.pi * RADIUS_MM**2 / (RADIUS_MM**2 + z_mm**2) ** 1.5
    assert_close(found, textbook * normal, rtol=0, atol=1e-12)


def test_a_conductor_of_some_width_adds_its_square_to_that_of_the_distance():
    found = field(loop(), places((0.0, 0.0, 40.0)), wire_mm=12.0)[0, 2]
    textbook = 2 * math.pi * RADIUS_MM**2 / (RADIUS_MM**2 + 40.0**2 + 12.0**2) ** 1.5
    assert float(found) == pytest.approx(textbook, rel=1e-12)


@pytest.mark.parametrize("direction", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.48, -0.6, 0.64)])
def test_far_away_a_loop_is_a_dipole_that_falls_with_the_third_power(direction):
    unit, moment = vector(*direction), math.pi * RADIUS_MM**2 * vector(0, 0, 1)
    for away_mm in (20 * RADIUS_MM, 40 * RADIUS_MM):
        found = field(loop(), places((away_mm * unit).tolist()))[0]
        dipole = (3 * moment.dot(unit) * unit - moment) / away_mm**3
        assert float((found - dipole).norm() / dipole.norm()) < 5 * (RADIUS_MM / away_mm) ** 2
    near, far = (
        field(loop(), places((scale * RADIUS_MM * unit).tolist())).norm() for scale in (40, 80)
    )
    assert float(near / far) == pytest.approx(8, rel=4e-3)


def test_currents_add_and_scale():
    p = places((20.0, 10.0, 45.0), (-70.0, 5.0, 30.0))
    one, other = loop(), loop((30.0, 0.0, 5.0), (0.3, 1.0, 0.0), 44.0)
    together = Currents(
        torch.cat((one.places, other.places), 1),
        torch.cat((2 * one.elements, -3 * other.elements), 1),
    )
    expected = 2 * field(one, p) - 3 * field(other, p)
    assert_close(field(together, p), expected, rtol=0, atol=1e-12)


def test_the_field_is_the_curl_of_the_vector_potential():
    middle, step = vector(25, -15, 40), 1e-3
    currents = loop((5.0, 0.0, 0.0), (0.2, 0.3, 1.0))
    shifts = step * torch.cat((torch.eye(3), -torch.eye(3))).double()
    potential = vector_potential(currents, Points(*(middle + shifts).T))[0].T
    slope = (potential[:3] - potential[3:]) / (2 * step)  # (derived along, component)
    curl = torch.stack(
        [slope[1, 2] - slope[2, 1], slope[2, 0] - slope[0, 2], slope[0, 1] - slope[1, 0]]
    )
    assert_close(curl, field(currents, places(middle.tolist()))[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dipole_at", [(0.0, 0.0, 90.0), (40.0, -25.0, 70.0), (150.0, 80.0, -40.0)])
def test_the_flux_of_a_dipole_through_a_loop_is_the_field_of_the_loop_at_the_dipole(dipole_at):
    """The loop is walked along in 4000 steps: fine where the code's own loop is coarse."""
    moment, at = vector(0.3, -1.1, 0.7), vector(*dipole_at)
    turn = 2 * math.pi * torch.arange(4000, dtype=torch.float64) / 4000
    zero = torch.zeros_like(turn)
    wire = RADIUS_MM * torch.stack((torch.cos(turn), torch.sin(turn), zero), -1)
    along = torch.stack((-torch.sin(turn), torch.cos(turn), zero), -1)
    step = 2 * math.pi * RADIUS_MM / 4000
    r = wire - at
    potential = torch.linalg.cross(moment.expand_as(r), r) / r.norm(dim=1, keepdim=True) ** 3
    flux = float((potential * along).sum() * step)
    by_reciprocity = float(field(loop(), places(dipole_at))[0] @ moment)
    assert by_reciprocity == pytest.approx(flux, rel=1e-5)


def test_loops_are_right_handed_around_their_normal():
    for normal in ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.3, -0.9, 0.2)):
        one = circle(vector(1, 2, 3), vector(*normal), 50.0)
        away = one.places - vector(1, 2, 3)
        area = torch.linalg.cross(away, one.elements).sum(0) / 2
        unit = vector(*normal) / vector(*normal).norm()
        assert_close(area, math.pi * 50.0**2 * unit, rtol=1e-9, atol=1e-6)


def a_plane(thorax, fov_mm=(300.0, 640.0)):
    """Return an oblique plane through the middle of the body."""
    c, s = math.cos(0.4), math.sin(0.4)
    x_axis = Points(*torch.tensor([c, 0.0, s]))
    y_axis = Points(*torch.tensor([-s * 0.6, 0.8, c * 0.6]))
    center = Points(*torch.tensor([thorax.center_x, thorax.center_y, 10.0]))
    return Plane(center, x_axis, y_axis, fov_mm, 8.0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("matrix", [(60, 128), (61, 129)])
def test_maps_are_the_exact_field_within_one_percent_below_the_skin(matrix, seed):
    thorax = draw_body(generator_of(seed)).thorax
    currents, plane = coils.place_array(ARRAY, thorax), a_plane(thorax)
    p = plane.points(matrix)
    bx, by, _ = magnetic_field(currents, p, wire_mm=coils.WIRE_MM)
    exact = torch.complex(bx, -by)
    found = coils.sensitivities(currents, plane, matrix)
    is_inside = skin(p.x - thorax.center_x, p.y - thorax.center_y, thorax) >= 15
    error, size = (found - exact)[:, is_inside].abs(), exact[:, is_inside].abs()
    assert float((error.norm(dim=1) / size.norm(dim=1)).max()) < 0.01
    assert float((error.amax(1) / size.amax(1)).max()) < 0.02


def test_turning_everything_about_the_main_field_turns_the_phase_of_what_coils_see():
    angle = 0.7
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    thorax = draw_body(generator_of(0)).thorax
    currents, plane = coils.place_array(ARRAY, thorax), a_plane(thorax)

    def turned(p):
        return Points(*(turn @ torch.stack(tuple(p))))

    moved = replace(
        plane,
        center=turned(plane.center),
        x_axis=turned(plane.x_axis),
        y_axis=turned(plane.y_axis),
    )
    with_currents = Currents(currents.places @ turn.T, currents.elements @ turn.T)
    before = coils.sensitivities(currents, plane, (20, 31))
    after = coils.sensitivities(with_currents, moved, (20, 31))
    phase = torch.polar(torch.ones(()), torch.tensor(-angle))
    assert_close(after, before * phase, rtol=0, atol=1e-5 * float(before.abs().max()))


def test_a_coil_sees_the_side_on_which_it_lies():
    thorax = draw_body(generator_of(1)).thorax
    currents = coils.place_array(ARRAY, thorax)
    n_front = ARRAY.front[0] * ARRAY.front[1]
    y = thorax.center_y + torch.tensor([[-60.0, 60.0]])
    p = Points(torch.full((1, 2), thorax.center_x), y, torch.zeros(1, 2))
    bx, by, _ = magnetic_field(currents, p)
    brightness = torch.complex(bx, -by).abs()[:, 0]
    assert float(brightness[:n_front, 0].sum()) > 2 * float(brightness[:n_front, 1].sum())
    assert float(brightness[n_front:, 1].sum()) > 2 * float(brightness[n_front:, 0].sum())


@pytest.mark.parametrize("seed", range(4))
def test_loops_lie_around_the_body_and_look_at_its_middle(seed):
    thorax = draw_body(generator_of(seed)).thorax
    currents = coils.place_array(ARRAY, thorax)
    assert ARRAY.n_coils == len(currents.places) == 17
    center = currents.places.mean(1) - torch.tensor([thorax.center_x, thorax.center_y, 0.0])
    assert bool((skin(center[:, 0], center[:, 1], thorax) < 0).all())
    assert bool((center[:8, 1] < 0).all())
    assert bool((center[8:, 1] > 0).all())
    away = currents.places - currents.places.mean(1, keepdim=True)
    normal = torch.linalg.cross(away, currents.elements).sum(1)
    assert bool(((normal[:, :2] * center[:, :2]).sum(1) < 0).all())
    assert_close(away.norm(dim=2), torch.full(away.shape[:2], 60.0), rtol=1e-4, atol=0)


def noise_of_some_array(body_share=0.8):
    thorax = draw_body(generator_of(2)).thorax
    currents = coils.place_array(replace(ARRAY, front=(1, 6), back=(1, 3)), thorax)
    return coils.noise_correlation(currents, thorax, body_share)


def test_noise_correlation_is_a_correlation():
    correlation = noise_of_some_array()
    assert_close(correlation, correlation.T)
    assert_close(correlation.diagonal(), torch.ones(9), rtol=0, atol=1e-6)
    assert float(torch.linalg.eigvalsh(correlation)[0]) > 0
    assert_close(noise_of_some_array(0.0), torch.eye(9))


def test_noise_of_neighbours_is_more_alike_than_that_of_loops_far_apart():
    correlation = noise_of_some_array().abs()
    neighbours, far = correlation.diagonal(1)[:5], correlation[0, 3:6]
    assert float(neighbours.min()) > float(far.max())
    assert float(correlation[:6, 6:].max()) < float(neighbours.min())  # front against back


def test_what_the_body_does_not_make_of_the_noise_is_each_coils_own():
    whole, half = noise_of_some_array(0.999), noise_of_some_array(0.4995)
    shared = ~torch.eye(9, dtype=torch.bool)
    assert_close(half[shared], whole[shared] / 2)


def test_gains_spread_as_told_in_size_and_fully_in_phase():
    gains = coils.draw_gains(500, generator_of("gains"), 0.15)
    assert 0.85 <= float(gains.abs().min()) < 0.87
    assert 1.13 < float(gains.abs().max()) <= 1.15
    assert abs(complex(gains.mean())) < 0.1
    assert_close(coils.draw_gains(4, generator_of("gains"), 0.0).abs(), torch.ones(4))


def test_compression_is_orthonormal_and_keeps_the_largest_share_there_is():
    maps = torch.arange(1, 7)[:, None, None] * gaussian(6, 20, 30)
    matrix = coils.compression_matrix(maps, 3)
    assert matrix.shape == (3, 6)
    assert_close(matrix @ matrix.mH, torch.eye(3, dtype=torch.complex128), rtol=0, atol=1e-12)
    singular = torch.linalg.svdvals(maps.flatten(1))
    kept = (matrix @ maps.flatten(1)).abs().square().sum(1)
    assert_close(kept, singular[:3].square(), rtol=1e-10, atol=0)


def test_compression_to_all_coils_loses_nothing():
    maps = gaussian(5, 8, 9)
    matrix = coils.compression_matrix(maps, 5)
    assert_close(matrix.mH @ (matrix @ maps.flatten(1)), maps.flatten(1), rtol=0, atol=1e-12)


def test_covariance_of_mixed_noise_is_that_of_the_mixture():
    factor, matrix = gaussian(4, 4, seed=1), gaussian(2, 4, seed=2)
    mixed = matrix @ factor @ gaussian(4, 200_000, seed=3)
    expected = coils.mixed_covariance(matrix, factor @ factor.mH)
    found = mixed @ mixed.mH / mixed.shape[1]
    assert float((found - expected).norm() / expected.norm()) < 0.01
