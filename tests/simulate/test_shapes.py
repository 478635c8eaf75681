"""Depths in solid shapes, and the share of a voxel that each tissue fills."""

import math

import pytest
import torch
from torch.testing import assert_close

from mrcli.simulate.shapes import (
    Layer,
    Points,
    both,
    capsule,
    cylinder,
    ellipsoid,
    inside,
    paint,
)
from mrcli.simulate.tissues import Tissue

EXACT = {"rtol": 0, "atol": 1e-12}


def at(x, y, z):
    return Points(*(torch.tensor(float(one), dtype=torch.float64) for one in (x, y, z)))


def some_places(n=200, size=60.0, seed=0):
    random = torch.Generator().manual_seed(seed)
    places = (2 * torch.rand(3, n, generator=random, dtype=torch.float64) - 1) * size
    return Points(*places)


def on_an_ellipsoid(center, radii, n=200):
    random = torch.Generator().manual_seed(1)
    unit = torch.randn(3, n, generator=random, dtype=torch.float64)
    unit = unit / unit.norm(dim=0)
    scaled = Points(*(axis * radius for axis, radius in zip(unit, radii, strict=True)))
    return scaled.plus(center), Points(*unit)


def plane(n_y, n_x, step_mm):
    y, x = ((torch.arange(n) - (n - 1) / 2) * step_mm for n in (n_y, n_x))
    y, x = torch.broadcast_tensors(y[:, None], x[None, :])
    return Points(x, y, torch.zeros_like(x))


def test_depth_in_a_sphere_is_its_radius_less_the_distance():
    places, center = some_places(), at(3, -5, 8)
    depth = ellipsoid(places, center, (21.0, 21.0, 21.0))
    assert_close(depth, 21 - places.minus(center).length(), **EXACT)


def test_depth_in_an_ellipsoid_is_zero_on_its_surface_and_first_order_near_it():
    center, radii = at(3, -5, 8), (20.0, 30.0, 45.0)
    surface, unit = on_an_ellipsoid(center, radii)
    assert_close(ellipsoid(surface, center, radii), torch.zeros(200).double(), rtol=0, atol=1e-10)
    normal = Points(*(axis / radius for axis, radius in zip(unit, radii, strict=True)))
    normal = normal.times(1 / normal.length())
    for below_mm in (0.2, -0.2):
        depth = ellipsoid(surface.minus(normal.times(below_mm)), center, radii)
        assert_close(depth, torch.full((200,), below_mm).double(), rtol=0, atol=4e-3)


def test_depth_in_an_ellipsoid_is_positive_inside_and_negative_outside():
    center, radii = at(0, 0, 0), (10.0, 20.0, 30.0)
    surface, _ = on_an_ellipsoid(center, radii)
    assert bool((ellipsoid(surface.times(0.9), center, radii) > 0).all())
    assert bool((ellipsoid(surface.times(1.1), center, radii) < 0).all())
    middle = ellipsoid(center, center, radii)
    assert math.isfinite(float(middle))
    assert float(middle) > 0


def test_depth_in_a_round_cylinder_is_its_radius_less_the_distance_from_its_axis():
    places = some_places()
    depth = cylinder(places.x, places.y, (17.0, 17.0))
    assert_close(depth, 17 - torch.hypot(places.x, places.y), **EXACT)


@pytest.mark.parametrize("power", [2.0, 2.5, 4.0])
def test_a_superellipse_ends_where_the_powers_of_its_coordinates_add_to_one(power):
    turn = torch.linspace(0.05, 2 * math.pi, 90, dtype=torch.float64)
    c, s = torch.cos(turn), torch.sin(turn)
    x = 150 * c.sign() * c.abs() ** (2 / power)
    y = 100 * s.sign() * s.abs() ** (2 / power)
    zero = torch.zeros_like(turn)
    assert_close(cylinder(x, y, (150.0, 100.0), power), zero, rtol=0, atol=1e-10)
    assert bool((cylinder(0.99 * x, 0.99 * y, (150.0, 100.0), power) > 0).all())


def test_depth_in_a_capsule_is_its_radius_less_the_distance_from_the_segment():
    start, end = at(-10, 5, 0), at(20, 5, 40)
    share = torch.linspace(0, 1, 20001, dtype=torch.float64)[:, None]
    segment = Points(-10 + 30 * share, 5 + 0 * share, 40 * share)
    places = some_places()
    nearest = places.minus(segment).length().amin(0)
    assert_close(capsule(places, start, end, 9.0), 9 - nearest, rtol=0, atol=1e-3)
    assert float(capsule(at(20, 5, 52), start, end, 9.0)) == pytest.approx(-3)  # a round end


def test_what_lies_in_both_is_as_deep_as_in_the_shallower():
    depths = torch.tensor([3.0, -1.0, 2.0]), torch.tensor([1.0, 5.0, -4.0]), torch.full((3,), 2.5)
    assert both(*depths).tolist() == [1.0, -1.0, -4.0]


def test_half_of_a_voxel_on_the_surface_is_inside():
    depth = torch.tensor([[-9.0, -0.5, -0.25, 0.0, 0.25, 0.5, 9.0]])
    assert inside(2 * depth, 2.0).tolist() == [[0, 0, 0.25, 0.5, 0.75, 1, 1]]


def test_fractions_and_what_is_free_fill_every_voxel():
    p = plane(41, 52, 2.0)
    layers = [
        Layer(Tissue.LEFT_BLOOD, ellipsoid(p, at(0, 0, 0), (20.0, 25.0, 30.0)).float()),
        Layer(Tissue.MYOCARDIUM, ellipsoid(p, at(5, 0, 0), (30.0, 30.0, 30.0)).float()),
        Layer(Tissue.LEFT_BLOOD, cylinder(p.x - 30, p.y, (9.0, 9.0))),
    ]
    fractions, free = paint(layers, torch.ones(41, 52), 2.0)
    assert_close(fractions.sum(0) + free, torch.ones(41, 52), rtol=0, atol=1e-6)
    assert bool((fractions >= 0).all())
    assert 0 < float(free.min().clamp(min=1e-9)) <= float(free.max()) == 1


def test_what_is_in_front_hides_what_is_behind():
    p = plane(31, 31, 1.0)
    front, back = cylinder(p.x, p.y, (8.0, 8.0)), cylinder(p.x, p.y, (12.0, 12.0))
    layers = [Layer(Tissue.FAT, front), Layer(Tissue.BONE, back)]
    fractions, _ = paint(layers, torch.ones(31, 31), 1.0)
    assert_close(fractions[Tissue.FAT], inside(front, 1.0))
    assert_close(fractions[Tissue.BONE], inside(back, 1.0) - inside(front, 1.0))
    hidden, _ = paint(reversed(layers), torch.ones(31, 31), 1.0)
    assert not hidden[Tissue.FAT].any()


@pytest.mark.parametrize("step_mm", [1.0, 1.7])
@pytest.mark.parametrize("n", [64, 65])
def test_the_area_of_a_painted_circle_is_pi_r_squared(n, step_mm):
    p = plane(n, n, step_mm)
    layers = [Layer(Tissue.LIVER, cylinder(p.x, p.y, (23.0, 23.0)))]
    fractions, _ = paint(layers, torch.ones(n, n), step_mm)
    area = float(fractions[Tissue.LIVER].sum()) * step_mm**2
    assert area == pytest.approx(math.pi * 23**2, rel=3e-3)


def test_the_volume_of_a_sphere_painted_slice_by_slice_is_four_thirds_pi_r_cubed():
    p = plane(48, 48, 1.0)
    z = (torch.arange(48) - 23.5)[:, None, None]
    depth = ellipsoid(Points(p.x, p.y, z), Points(*torch.zeros(3)), (20.0, 20.0, 20.0))
    fractions, _ = paint([Layer(Tissue.LIVER, depth)], torch.ones(48, 48, 48), 1.0)
    assert float(fractions.sum()) == pytest.approx(4 / 3 * math.pi * 20**3, rel=2e-3)


def test_frames_painted_together_are_the_frames_painted_alone():
    p = plane(24, 31, 2.0)
    radius = torch.tensor([6.0, 11.0, 17.0])[:, None, None]
    center = Points(radius - 8, 0 * radius, 0 * radius)

    def layers(radius, center):
        yield Layer(Tissue.LEFT_BLOOD, ellipsoid(p, center, (radius, 1.2 * radius, radius)))
        yield Layer(Tissue.FAT, cylinder(p.x, p.y, (20.0, 15.0)))

    together, free = paint(layers(radius, center), torch.ones(3, 24, 31), 2.0)
    for frame in range(3):
        own_center = Points(*(axis[frame] for axis in center))
        alone, own_free = paint(layers(radius[frame], own_center), torch.ones(24, 31), 2.0)
        assert_close(together[:, frame], alone, rtol=0, atol=1e-6)
        assert_close(free[frame], own_free, rtol=0, atol=1e-6)
