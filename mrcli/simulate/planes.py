"""Imaging planes: where the pixels of a slice lie in the patient."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from mrcli.simulate.body import Body
from mrcli.simulate.shapes import Points

Grid = tuple[int, int]  # (y, x)
VIEWS = frozenset({"sax", "2ch", "3ch", "4ch", "lvot", "axial"})


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Plane:
    """A slice: the place of its origin pixel, its directions, its extents in millimetres."""

    center: Points
    x_axis: Points  # along the readout, unit length
    y_axis: Points  # along the phase encoding
    fov_mm: tuple[float, float]  # (y, x)
    thickness_mm: float

    def points(self, grid: Grid, device: str = "cpu") -> Points:
        """Return the places ``(y, x)`` of the pixels of a grid over the field of view."""
        y = _positions(grid[0], self.fov_mm[0], device)[:, None]
        x = _positions(grid[1], self.fov_mm[1], device)[None, :]
        return self.center.plus(self.x_axis.times(x)).plus(self.y_axis.times(y))

    def offset_mm(self, p: Points) -> tuple[float, float]:
        """Return how far a place lies from the origin pixel along y and x."""
        d = p.minus(self.center)
        return float(d.dot(self.y_axis)), float(d.dot(self.x_axis))


def _positions(n: int, extent_mm: float, device: str) -> Float[Tensor, " n"]:
    """Return the distance of every pixel from the origin ``n // 2``."""
    return (torch.arange(n, device=device, dtype=torch.float32) - n // 2) * (extent_mm / n)


@dataclass(frozen=True)
class Prescription:
    """What the person at the scanner asks for: a view, its extents, and where in the stack."""

    view: str
    fov_mm: tuple[float, float]  # (y, x)
    thickness_mm: float
    offset_mm: float = 0.0  # along the normal


def plane_of(wanted: Prescription, body: Body, random: Generator) -> Plane:
    """Return the plane of a view through this patient's heart, moved along its normal.

    ``sax`` is across the long axis, ``2ch``, ``3ch``, ``4ch`` hold it, ``axial`` is across the
    body. As on a scanner the plane is chosen by a person: it is a few degrees off, and turned in
    itself so that the phase encoding falls somewhere between the short sides of the body.
    """
    normal, readout = _directions(wanted.view, body)
    tilt, turn, up, aside = (torch.rand(4, generator=random) - 0.5).tolist()
    normal = normal.plus(readout.times(math.radians(10) * tilt)).unit()
    readout = readout.minus(normal.times(readout.dot(normal))).unit()
    phase = normal.cross(readout)
    angle = math.radians(24) * turn
    x_axis = readout.times(math.cos(angle)).plus(phase.times(math.sin(angle)))
    y_axis = phase.times(math.cos(angle)).minus(readout.times(math.sin(angle)))
    center = _center(wanted.view, body).plus(normal.times(wanted.offset_mm))
    center = center.plus(x_axis.times(24 * up)).plus(y_axis.times(24 * aside))
    return Plane(center, x_axis, y_axis, wanted.fov_mm, wanted.thickness_mm)


def _directions(view: str, body: Body) -> tuple[Points, Points]:
    """Return the normal and the readout: along the shorter side of the body in that plane."""
    frame = body.frame
    back = Points(torch.tensor(0.0), torch.tensor(1.0), torch.tensor(0.0))
    left = Points(torch.tensor(1.0), torch.tensor(0.0), torch.tensor(0.0))
    head = Points(torch.tensor(0.0), torch.tensor(0.0), torch.tensor(1.0))
    third = frame.third
    if view == "sax":
        return frame.long, back
    if view == "4ch":
        return third, back
    if view == "2ch":
        return frame.septal, head
    if view in {"3ch", "lvot"}:
        slanted = frame.septal.times(0.5).plus(third.times(0.87))
        return slanted, back
    return head, left  # axial: the arms lie along the oversampled readout


def _center(view: str, body: Body) -> Points:
    if view != "axial":
        return body.frame.place(0.0, 0.0, 5.0)
    thorax = body.thorax
    return Points(
        torch.tensor(0.55 * thorax.center_x), torch.tensor(0.6 * thorax.center_y), torch.tensor(0.0)
    )
