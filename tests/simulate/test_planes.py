"""Planes: where pixels lie, and what a view holds of the heart."""

import math

import pytest
import torch
from torch.testing import assert_close

from mrcli.simulate.body import draw_body
from mrcli.simulate.planes import VIEWS, Plane, Prescription, plane_of
from mrcli.simulate.recipes import generator_of
from mrcli.simulate.shapes import Points

ORIGIN = Points(*torch.zeros(3))
BODY = draw_body(generator_of("planes"))
for_every_view = pytest.mark.parametrize("view", sorted(VIEWS))


def plane(view, seed=0, offset_mm=0.0, body=BODY):
    wanted = Prescription(view, (300.0, 640.0), 8.0, offset_mm)
    return plane_of(wanted, body, generator_of("plane", seed))


def normal_of(one):
    return torch.linalg.cross(torch.stack(tuple(one.x_axis)), torch.stack(tuple(one.y_axis)))


@pytest.mark.parametrize("grid", [(6, 8), (7, 8), (7, 9)])
def test_the_origin_pixel_lies_in_the_center_and_pixels_fill_the_field_of_view(grid):
    one = plane("sax")
    p = one.points(grid)
    there = [axis[grid[0] // 2, grid[1] // 2] for axis in p]
    assert_close(torch.stack(there), torch.stack(tuple(one.center)))
    step_y = Points(*(axis[1:] - axis[:-1] for axis in p)).length()
    step_x = Points(*(axis[:, 1:] - axis[:, :-1] for axis in p)).length()
    assert_close(step_y, torch.full_like(step_y, 300 / grid[0]), rtol=1e-4, atol=0)
    assert_close(step_x, torch.full_like(step_x, 640 / grid[1]), rtol=1e-4, atol=0)


@for_every_view
@pytest.mark.parametrize("seed", range(5))
def test_the_axes_of_a_plane_are_orthonormal(view, seed):
    one = plane(view, seed)
    for axis in (one.x_axis, one.y_axis):
        assert float(axis.length()) == pytest.approx(1, abs=1e-5)
    assert float(one.x_axis.dot(one.y_axis)) == pytest.approx(0, abs=1e-5)


@for_every_view
def test_an_offset_moves_a_plane_along_its_normal(view):
    rest, moved = plane(view), plane(view, offset_mm=20.0)
    step = torch.stack(tuple(moved.center.minus(rest.center)))
    assert_close(step.abs(), 20 * normal_of(rest).abs(), rtol=1e-4, atol=1e-3)
    assert float(step.norm()) == pytest.approx(20, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_short_axis_planes_are_across_the_long_axis_within_a_few_degrees(seed):
    body = draw_body(generator_of("planes", seed))
    along = torch.stack(tuple(body.frame.long)) @ normal_of(plane("sax", seed, body=body))
    assert abs(float(along)) > math.cos(math.radians(6))


@pytest.mark.parametrize("view", ["2ch", "3ch", "4ch", "lvot"])
@pytest.mark.parametrize("seed", range(5))
def test_long_axis_views_hold_the_long_axis_within_a_few_degrees(view, seed):
    body = draw_body(generator_of("planes", seed))
    one = plane(view, seed, body=body)
    along = torch.stack(tuple(body.frame.long)) @ normal_of(one)
    assert abs(float(along)) < math.sin(math.radians(6))
    center = torch.stack(tuple(body.frame.place(0, 0, 5).minus(one.center)))
    assert abs(float(center @ normal_of(one))) < 1e-3


def test_axial_planes_are_across_the_body_and_their_readout_lies_along_the_arms():
    one = plane("axial")
    assert abs(float(normal_of(one)[2])) > math.cos(math.radians(6))
    assert abs(float(one.x_axis.x)) > math.cos(math.radians(14))


def test_planes_of_one_generator_are_the_same_and_of_another_are_not():
    assert plane("sax", 1).center == plane("sax", 1).center
    assert plane("sax", 1).center != plane("sax", 2).center


def test_a_place_is_counted_from_the_origin_pixel_along_the_axes():
    x, y = Points(*torch.eye(3)[0]), Points(*torch.eye(3)[2])
    center = Points(*torch.tensor([1.0, 2.0, 3.0]))
    one = Plane(center, x, y, (100.0, 100.0), 8.0)
    assert one.offset_mm(ORIGIN) == (-3.0, -1.0)
    assert one.offset_mm(center) == (0.0, 0.0)


@pytest.mark.parametrize("seed", range(10))
def test_the_axes_of_the_heart_are_a_rigid_frame(seed):
    frame = draw_body(generator_of("planes", seed)).frame
    matrix = torch.stack([torch.stack(tuple(axis)) for axis in (frame.septal, frame.third)])
    long = torch.stack(tuple(frame.long))
    assert_close(matrix @ matrix.T, torch.eye(2), rtol=0, atol=1e-5)
    assert_close(matrix @ long, torch.zeros(2), rtol=0, atol=1e-5)
    place = frame.place(3.0, -4.0, 12.0)
    assert_close(torch.stack(tuple(frame.coordinates(place))), torch.tensor([3.0, -4.0, 12.0]))
    assert float(frame.long.x) < 0  # the apex points to the left: the base to the right
    assert float(frame.long.z) > 0
