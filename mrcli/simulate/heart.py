"""A four-chamber heart that beats: its tissues from front to back, at any places and moments.

In the axes of the heart (septal, third, long) the left ventricle is half an ellipsoid whose apex
stays where it is while the valve plane comes down, the muscle keeps its volume, and base and apex
turn against each other. The right ventricle is what an ellipsoid beside it leaves uncovered.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mrcli.simulate.body import Body, HeartSizes, ThoraxSizes
from mrcli.simulate.motion import HeartState
from mrcli.simulate.shapes import (
    Coverage,
    Depth,
    Layer,
    Length,
    Points,
    both,
    capsule,
    cylinder,
    ellipsoid,
    inside,
    place,
)
from mrcli.simulate.tissues import Tissue

REACH_MM = 126.0  # all that moves with the heart lies within this distance of its center

_SHORTENING = 0.16  # of the long axis, at full contraction
_RIGHT_WALL_MM, _ATRIAL_WALL_MM = 3.5, 2.2
_CUT = 0.42  # the valve plane cuts the ellipsoid so far from its center, in half lengths
_TRABECULAE_SCALE = 2.6  # times finer than the texture of tissue


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class _LeftVentricle:
    """Sizes of the left ventricle at the moments asked for, in millimetres."""

    radius: Tensor  # of the cavity
    outer: Tensor
    half_length: Tensor
    center: Tensor  # along the long axis
    base: Tensor  # where the valve plane cuts


def heart_layers(p: Points, body: Body, state: HeartState) -> Iterator[Layer]:
    """Yield the tissues of the heart and the vessels at it, from front to back."""
    moved = Points(p.x, p.y, p.z + state.shift_mm)
    q = body.frame.coordinates(moved)
    sizes, left = body.heart, _left_ventricle(body.heart, state.contraction)
    turned = _untwisted(q, sizes, left, state.contraction)
    rough = sizes.trabeculae * body.texture.at(turned, scale=_TRABECULAE_SCALE)
    below_valves = left.base - q.z
    cavity = _ellipsoid_of(q, left, left.radius, 0.0)
    toward_apex = ((left.base - q.z) / (2 * left.half_length)).clamp(0, 1)
    cavity = cavity - (rough * (0.3 + toward_apex)).clamp(min=0)
    yield from _papillary_muscles(turned, sizes, left)
    yield Layer(Tissue.LEFT_BLOOD, both(cavity, below_valves))
    muscle = both(_ellipsoid_of(q, left, left.outer, left.outer - left.radius), below_valves + 2)
    if sizes.scar_half_width_deg > 0:
        yield Layer(Tissue.SCAR, both(muscle, _scar(turned, sizes, left)))
    yield Layer(Tissue.MYOCARDIUM, muscle)
    yield from _right_ventricle(q, sizes, left, state.contraction, 1.3 * rough)
    yield from _vessels(moved, body)
    yield from _atria(q, sizes, left, state.contraction)
    yield Layer(Tissue.FAT, both(_fat_around(q, body, left), chest_cavity(p, body.thorax)))


def blood_flow(p: Points, body: Body, state: HeartState, edge_mm: float) -> tuple[Coverage, ...]:
    """Return the parabolic profiles ``1 - (r / R)^2`` of ascending and descending aorta."""
    moved = Points(p.x, p.y, p.z + state.shift_mm)
    rising = _rising_aorta(moved, body)
    falling = _falling_aorta(p, body)
    radius = body.heart.aorta_radius
    return tuple(
        inside(depth, edge_mm) * (1 - (1 - depth.clamp(min=0) / size).clamp(0, 1).square())
        for depth, size in ((rising, radius), (falling, 0.8 * radius))
    )


def vessels_apart(p: Points, body: Body) -> Iterator[Layer]:
    """Yield the vessels that do not move with the heart."""
    thorax = body.thorax
    yield Layer(Tissue.LEFT_BLOOD, _falling_aorta(p, body))
    vein_x = thorax.center_x - 22
    above = capsule(p, place(vein_x, 2, 45), place(vein_x, 4, 240), 9.0)
    below = capsule(p, place(vein_x - 4, 14, -25), place(vein_x - 4, 24, -240), 11.0)
    yield Layer(Tissue.RIGHT_BLOOD, torch.maximum(above, below))


def chest_cavity(p: Points, sizes: ThoraxSizes) -> Depth:
    """Return the depth in the chest, inside ribs and muscle."""
    x, y = p.x - sizes.center_x, p.y - sizes.center_y
    return under_fat(x, y, sizes) - sizes.wall


def skin(x: Tensor, y: Tensor, sizes: ThoraxSizes) -> Depth:
    """Return the depth in the body; `x` and `y` are counted from its middle."""
    return cylinder(x, y, (sizes.half_width, sizes.half_depth), sizes.roundness)


def under_fat(x: Tensor, y: Tensor, sizes: ThoraxSizes) -> Depth:
    """Return the depth below the fat under the skin, which is thicker at the back."""
    return skin(x, y, sizes) - sizes.fat * (0.75 + 0.5 * (y / sizes.half_depth).clamp(0, 1))


def _left_ventricle(sizes: HeartSizes, contraction: Tensor) -> _LeftVentricle:
    length = 1 - _SHORTENING * contraction
    # volume ~ radius^2 length falls by the ejection fraction; the wall keeps its volume
    radius2 = sizes.cavity_radius**2 * (1 - sizes.ejection_fraction * contraction) / length
    wall_area = (sizes.cavity_radius + sizes.wall) ** 2 - sizes.cavity_radius**2
    half_length = sizes.half_length * length
    apex = -sizes.half_length + 4
    center = apex + half_length
    return _LeftVentricle(
        radius2.sqrt(),
        (radius2 + wall_area / length).sqrt(),
        half_length,
        center,
        center + _CUT * half_length,
    )


def _ellipsoid_of(q: Points, left: _LeftVentricle, radius: Tensor, apical_wall: Length) -> Depth:
    center = Points(torch.zeros_like(radius), torch.zeros_like(radius), left.center)
    return ellipsoid(q, center, (radius, radius, left.half_length + 0.75 * apical_wall))


def _untwisted(q: Points, sizes: HeartSizes, left: _LeftVentricle, contraction: Tensor) -> Points:
    """Return where the muscle now at `q` was at the end of diastole."""
    height = (q.z - left.center) / left.half_length
    angle = math.radians(sizes.twist_deg) * contraction * height
    radial = sizes.cavity_radius / left.radius
    cos, sin = torch.cos(angle) * radial, torch.sin(angle) * radial
    along = (q.z - left.center) * (sizes.half_length / left.half_length)
    return Points(cos * q.x - sin * q.y, sin * q.x + cos * q.y, along)


def _papillary_muscles(r: Points, sizes: HeartSizes, left: _LeftVentricle) -> Iterator[Layer]:
    """Yield two rods along the wall; `r` are places at the end of diastole, from the center."""
    away = 0.64 * sizes.cavity_radius
    for degrees in (115.0, 235.0):
        x, y = away * math.cos(math.radians(degrees)), away * math.sin(math.radians(degrees))
        start = place(0.75 * x, 0.75 * y, -0.62 * sizes.half_length)
        depth = capsule(r, start, place(x, y, 0.05 * sizes.half_length), sizes.papillary_radius)
        yield Layer(Tissue.MYOCARDIUM, depth * (left.radius / sizes.cavity_radius).sqrt())


def _scar(r: Points, sizes: HeartSizes, left: _LeftVentricle) -> Depth:
    """Return the depth in a wedge of the wall that starts at the cavity."""
    degrees = torch.rad2deg(torch.atan2(r.y, r.x)) - sizes.scar_angle_deg
    away = (degrees - 360 * torch.round(degrees / 360)).abs()
    radius = Points(r.x, r.y, torch.zeros_like(r.z)).length()
    wedge = torch.deg2rad(sizes.scar_half_width_deg - away) * radius
    outer = sizes.cavity_radius + sizes.scar_depth * sizes.wall
    within = ellipsoid(
        r, place(0, 0, 0), (outer, outer, sizes.half_length + 0.5 * sizes.scar_depth * sizes.wall)
    )
    return both(wedge, within, 0.45 * sizes.half_length - (r.z + 5).abs()) + 0 * left.radius


def _right_ventricle(
    q: Points, sizes: HeartSizes, left: _LeftVentricle, contraction: Tensor, rough: Tensor
) -> Iterator[Layer]:
    shrink = 1 - 0.26 * contraction
    radius = sizes.right_radius
    center = Points(
        left.outer + 0.12 * radius, torch.zeros_like(left.outer), left.center - 2 + 0 * rough
    )
    radii = (radius * shrink, 1.5 * radius * shrink, 0.92 * left.half_length)
    wall = tuple(r + _RIGHT_WALL_MM for r in radii)
    below_valve = left.base - 2 - q.z
    cavity = ellipsoid(q, center, radii) - rough.clamp(min=0)
    yield Layer(Tissue.RIGHT_BLOOD, both(cavity, below_valve))
    muscle = ellipsoid(q, center, (wall[0], wall[1], wall[2]))
    yield Layer(Tissue.MYOCARDIUM, both(muscle, below_valve + 1))


def _atria(
    q: Points, sizes: HeartSizes, left: _LeftVentricle, contraction: Tensor
) -> Iterator[Layer]:
    radius = sizes.atrium_radius * (0.9 + 0.18 * contraction)
    zero = torch.zeros_like(radius)
    left_center = Points(zero - 5, zero - 4, left.base + 0.8 * radius)
    right_center = Points(zero + sizes.cavity_radius + 19, zero + 10, left.base + 0.72 * radius)
    above = q.z - left.base + 1
    for tissue, center, stretch in (
        (Tissue.LEFT_BLOOD, left_center, 1.15),
        (Tissue.RIGHT_BLOOD, right_center, 1.05),
    ):
        depth = ellipsoid(q, center, (radius, stretch * radius, radius))
        yield Layer(tissue, both(depth, above))
        yield Layer(Tissue.MYOCARDIUM, both(depth + _ATRIAL_WALL_MM, above + 1))


def _vessels(p: Points, body: Body) -> Iterator[Layer]:
    """Yield the roots of aorta and pulmonary artery and the outflow tract of the right heart."""
    frame, sizes = body.frame, body.heart
    rising = _rising_aorta(p, body)
    yield Layer(Tissue.LEFT_BLOOD, rising)
    yield Layer(Tissue.MYOCARDIUM, rising + 1.5)
    outflow = frame.place(0.95 * sizes.cavity_radius, -30, 22)
    trunk = outflow.plus(place(12, 8, 44))
    pulmonary = capsule(p, outflow, trunk, 0.85 * sizes.aorta_radius)
    branch = capsule(p, trunk, trunk.plus(place(38, 34, 6)), 0.6 * sizes.aorta_radius)
    yield Layer(Tissue.RIGHT_BLOOD, torch.maximum(pulmonary, branch))
    yield Layer(Tissue.MYOCARDIUM, pulmonary + 1.2)


def _rising_aorta(p: Points, body: Body) -> Depth:
    sizes = body.heart
    root = body.frame.place(10, -6, 0.55 * sizes.half_length)
    return capsule(p, root, root.plus(place(-16, -8, 78)), sizes.aorta_radius)


def _falling_aorta(p: Points, body: Body) -> Depth:
    thorax = body.thorax
    x, y = thorax.center_x + 24, thorax.center_y + 0.48 * thorax.half_depth
    return cylinder(p.x - x, p.y - y, (0.8 * body.heart.aorta_radius,) * 2)


def _fat_around(q: Points, body: Body, left: _LeftVentricle) -> Depth:
    """Return the depth in the fat between heart and pericardium: uneven, most at the right."""
    sizes = body.heart
    uneven = 0.7 * sizes.fat * body.texture.at(q)
    center = Points(0.5 * left.outer, 0 * left.outer, left.center + 10)
    reach = left.outer + 0.6 * sizes.right_radius + sizes.fat
    return ellipsoid(q, center, (reach, 0.92 * reach, left.half_length + 14 + sizes.fat)) + uneven
