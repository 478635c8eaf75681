"""One patient: the sizes of thorax and heart, drawn once, the same in every scan of that patient.

Axes are those of the patient in millimetres, x to the left, y to the back, z to the head, with the
origin in the middle of the left ventricle. Sizes are those of adults (Kawel-Boehm 2020,
doi:10.1186/s12968-020-00683-3) with some spread beyond them.
"""

from dataclasses import dataclass

import torch
from torch import Generator

from mrcli.simulate.fields import SmoothField, Texture, draw_smooth_field, draw_texture
from mrcli.simulate.shapes import Points, place


@dataclass(frozen=True)
class ThoraxSizes:
    """Lengths in millimetres."""

    half_width: float
    half_depth: float
    fat: float
    wall: float
    center_x: float  # of the chest, seen from the heart
    center_y: float
    roundness: float  # power of the superellipse
    dome: float  # height of the diaphragm
    mediastinum: float


@dataclass(frozen=True)
class HeartSizes:
    """Lengths in millimetres at the end of diastole."""

    cavity_radius: float
    wall: float
    half_length: float
    right_radius: float
    atrium_radius: float
    trabeculae: float
    papillary_radius: float
    aorta_radius: float
    fat: float
    ejection_fraction: float
    twist_deg: float
    scar_angle_deg: float
    scar_half_width_deg: float  # 0: no scar
    scar_depth: float  # share of the wall


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class HeartFrame:
    """The axes of the heart as unit vectors of the patient."""

    long: Points  # from the apex to the base
    septal: Points  # towards the right ventricle
    third: Points

    def coordinates(self, p: Points) -> Points:
        """Return places along the septal, third and long axis."""
        return Points(p.dot(self.septal), p.dot(self.third), p.dot(self.long))

    def place(self, septal: float, third: float, long: float) -> Points:
        """Return the place in the patient of coordinates in the heart."""
        along = self.septal.times(septal).plus(self.third.times(third))
        return along.plus(self.long.times(long))


@dataclass(frozen=True, eq=False)
class Body:
    """All that makes a patient."""

    thorax: ThoraxSizes
    heart: HeartSizes
    frame: HeartFrame
    texture: Texture
    off_resonance: SmoothField
    transmit: SmoothField
    phase: SmoothField
    shading: SmoothField


def draw_body(random: Generator) -> Body:
    """Draw a patient."""
    return Body(
        thorax=_draw_thorax(random),
        heart=_draw_heart(random),
        frame=_draw_frame(random),
        texture=draw_texture(random),
        off_resonance=draw_smooth_field(random, 90, 400),
        transmit=draw_smooth_field(random, 250, 600),
        phase=draw_smooth_field(random, 140, 500),
        shading=draw_smooth_field(random, 60, 200),
    )


def _between(random: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(1, generator=random))


def _draw_thorax(random: Generator) -> ThoraxSizes:
    fat = 5 + 22 * _between(random, 0, 1) ** 1.5
    half_depth = _between(random, 88, 112) + 0.6 * fat
    return ThoraxSizes(
        half_width=_between(random, 140, 170) + 0.8 * fat,
        half_depth=half_depth,
        fat=fat,
        wall=_between(random, 15, 24),
        center_x=_between(random, -48, -30),
        center_y=_between(random, 6, 22),
        roundness=_between(random, 2.2, 2.9),
        dome=_between(random, -45, -25),
        mediastinum=_between(random, 26, 38),
    )


def _draw_heart(random: Generator) -> HeartSizes:
    has_scar = _between(random, 0, 1) < 0.5
    return HeartSizes(
        cavity_radius=_between(random, 20, 29),
        wall=_between(random, 7.5, 12.5),
        half_length=_between(random, 44, 55),
        right_radius=_between(random, 22, 29),
        atrium_radius=_between(random, 19, 25),
        trabeculae=_between(random, 1.0, 3.5),
        papillary_radius=_between(random, 3.0, 5.2),
        aorta_radius=_between(random, 12, 17),
        fat=_between(random, 1, 8),
        ejection_fraction=_between(random, 0.25, 0.66),
        twist_deg=_between(random, 8, 18),
        scar_angle_deg=_between(random, 0, 360),
        scar_half_width_deg=_between(random, 18, 55) if has_scar else 0.0,
        scar_depth=_between(random, 0.35, 1.0),
    )


def _draw_frame(random: Generator) -> HeartFrame:
    """Draw the axes: the apex points left, to the front and down; the septum faces right-front."""
    tilt = [_between(random, -0.13, 0.13) for _ in range(4)]
    long = place(-0.62 + tilt[0], 0.50 + tilt[1], 0.60 + tilt[2]).unit()
    towards = place(-0.70, -0.70 + tilt[3], 0.05).unit()
    septal = towards.minus(long.times(towards.dot(long)))
    septal = septal.unit()
    return HeartFrame(long, septal, long.cross(septal))
