"""What lies around the heart and stands still: lungs, liver, spine, ribs, muscle, fat, arms."""

from collections.abc import Iterator

import torch
from torch import Tensor

from mrcli.simulate.body import Body, ThoraxSizes
from mrcli.simulate.heart import skin, under_fat, vessels_apart
from mrcli.simulate.shapes import Depth, Layer, Points, both, cylinder, ellipsoid, place
from mrcli.simulate.tissues import Tissue

_RIB_SPACING_MM, _RIB_SHARE = 27.0, 0.34
_SKIN_MM = 1.4
_VESSELS_SCALE = 2.2  # times finer than the texture of tissue
_LUNG_VESSEL_MM, _LIVER_VEIN_MM = 1.6, 2.6  # radii of those that a slice can show
_FAT_PLANE_MM = 0.4  # half the thickness of the fat between the muscles of the wall


def thorax_layers(p: Points, body: Body) -> Iterator[Layer]:
    """Yield the tissues from front to back."""
    sizes = body.thorax
    x, y = p.x - sizes.center_x, p.y - sizes.center_y
    outside, below_fat = skin(x, y, sizes), under_fat(x, y, sizes)
    cavity = below_fat - sizes.wall
    yield from vessels_apart(p, body)
    yield from _spine(x, y, p.z, sizes)
    yield from _abdomen(p, x, y, cavity, body)
    yield from _mediastinum(x, y, cavity, body, p)
    yield from _lungs(p, cavity, body)
    yield from _wall(p, x, y, below_fat, sizes, body)
    yield Layer(Tissue.MUSCLE, both(outside, _SKIN_MM - outside))
    yield Layer(Tissue.FAT, outside)
    yield from _arms(p, x, y, sizes)


def _spine(x: Tensor, y: Tensor, z: Tensor, sizes: ThoraxSizes) -> Iterator[Layer]:
    back = y - (sizes.half_depth - sizes.fat - 42)
    yield Layer(Tissue.FLUID, cylinder(x, back - 21, (8.0, 6.5)) + 0 * z)
    vertebra = cylinder(x, back, (19.0, 15.0))
    disc = (z / 29 - torch.round(z / 29)).abs() * 29 - 4  # discs are dark, 8 mm high
    yield Layer(Tissue.BONE, both(vertebra, disc))
    yield Layer(Tissue.MUSCLE, vertebra + 1)
    process = both(cylinder(x, back - 30, (5.0, 14.0)), 9 - ((z / 29) % 1 - 0.5).abs() * 29)
    yield Layer(Tissue.BONE, process)


def _abdomen(p: Points, x: Tensor, y: Tensor, cavity: Depth, body: Body) -> Iterator[Layer]:
    sizes = body.thorax
    right = ((x + 0.45 * sizes.half_width) / (0.62 * sizes.half_width)).square()
    back = (y / (0.95 * sizes.half_depth)).square()
    dome = sizes.dome + 22 * (1 - right - back).clamp(min=-1.5)
    below = both(dome - p.z, cavity - 3)
    wavy = 7 * body.texture.at(p)
    liver = both(below, 26 - x + wavy)
    yield Layer(Tissue.RIGHT_BLOOD, both(liver - 4, _tubes(p, body, _LIVER_VEIN_MM)))
    yield Layer(Tissue.LIVER, liver)
    stomach = ellipsoid(Points(x, y, p.z), place(62, -12, sizes.dome - 52), (38.0, 34.0, 42.0))
    yield Layer(Tissue.FLUID, both(stomach, below, y + 18 + wavy))  # fluid lies behind the air
    yield Layer(Tissue.LUNG, both(stomach, below))
    spleen = ellipsoid(
        Points(x, y, p.z),
        place(0.62 * sizes.half_width, 34, sizes.dome - 40),
        (24.0, 36.0, 44.0),
    )
    yield Layer(Tissue.LIVER, both(spleen, below))
    yield Layer(Tissue.MUSCLE, both(below, wavy + 4))  # bowel and its fat
    yield Layer(Tissue.FAT, below)


def _mediastinum(x: Tensor, y: Tensor, cavity: Depth, body: Body, p: Points) -> Iterator[Layer]:
    sizes = body.thorax
    middle = cylinder(x - 12, y + 4, (sizes.mediastinum, 0.86 * sizes.half_depth), 2.4)
    strands = 8 * body.texture.at(p)
    yield Layer(Tissue.MUSCLE, both(middle, cavity, strands - 6))
    yield Layer(Tissue.FAT, both(middle, cavity))


def _lungs(p: Points, cavity: Depth, body: Body) -> Iterator[Layer]:
    yield Layer(Tissue.RIGHT_BLOOD, both(cavity - 4, _tubes(p, body, _LUNG_VESSEL_MM)))
    yield Layer(Tissue.LUNG, cavity)


def _tubes(p: Points, body: Body, radius_mm: float) -> Depth:
    """Return the depth in winding tubes: two independent fields vanish together along lines.

    The second field is the first one seen elsewhere along other axes.
    """
    elsewhere = Points(p.y + 41, p.z - 67, p.x + 23)
    one, other = (body.texture.at(q, scale=_VESSELS_SCALE) for q in (p, elsewhere))
    away_mm = torch.hypot(one, other) * (body.texture.correlation_mm / _VESSELS_SCALE)
    return radius_mm - away_mm


def _wall(
    p: Points, x: Tensor, y: Tensor, below_fat: Depth, sizes: ThoraxSizes, body: Body
) -> Iterator[Layer]:
    """Yield sternum and ribs, which run down towards the front, between muscles parted by fat."""
    middle = below_fat - 0.55 * sizes.wall
    sternum = both(
        cylinder(x, y + sizes.half_depth - sizes.fat - 0.5 * sizes.wall, (17.0, 6.5)),
        below_fat - 1,
    )
    yield Layer(Tissue.BONE, sternum + 0 * p.z)
    turn = (p.z - 0.32 * y) / _RIB_SPACING_MM
    across = (turn - torch.round(turn)).abs() * _RIB_SPACING_MM
    rib = both(0.21 * sizes.wall - middle.abs(), _RIB_SHARE * _RIB_SPACING_MM / 2 - across)
    yield Layer(Tissue.BONE, rib)
    wavy = 0.16 * sizes.wall * body.texture.at(p)
    for share in (0.3, 0.95):  # from the skin: between two muscles, and below the ribs
        plane = _FAT_PLANE_MM - (below_fat - share * sizes.wall + wavy).abs()
        yield Layer(Tissue.FAT, both(below_fat, plane))
    yield Layer(Tissue.MUSCLE, below_fat)


def _arms(p: Points, x: Tensor, y: Tensor, sizes: ThoraxSizes) -> Iterator[Layer]:
    for side in (-1.0, 1.0):
        away = x - side * (sizes.half_width + 52)
        limb = cylinder(away, y - 14, (44.0, 40.0)) + 0 * p.z
        yield Layer(Tissue.BONE, limb - 30)
        yield Layer(Tissue.MUSCLE, limb - 3 - 0.4 * sizes.fat)
        yield Layer(Tissue.FAT, limb)
