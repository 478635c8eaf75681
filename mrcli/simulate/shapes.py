"""Solid shapes as depth functions: millimetres below the surface, negative outside.

Points are three tensors ``(x, y, z)`` in millimetres; all functions broadcast over them and over
the sizes, so that frames and patients are computed together. Depths are exact on the surface and
first order near it, which is all that a border one voxel wide needs.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mrcli.simulate.tissues import N_TISSUES, Tissue

Depth = Float[Tensor, "..."]
Length = float | Float[Tensor, "..."]
TissueFractions = Float[Tensor, "tissue *batch y x"]  # what share of a voxel each tissue fills
Coverage = Float[Tensor, "*batch y x"]


class Points(NamedTuple):
    """Places in space, in millimetres; also directions and shifts."""

    x: Tensor
    y: Tensor
    z: Tensor

    def minus(self, other: "Points") -> "Points":
        """Return the places as seen from `other`."""
        return Points(self.x - other.x, self.y - other.y, self.z - other.z)

    def plus(self, other: "Points") -> "Points":
        """Return the places moved by `other`."""
        return Points(self.x + other.x, self.y + other.y, self.z + other.z)

    def times(self, factor: Length) -> "Points":
        """Return the places with every coordinate multiplied."""
        return Points(self.x * factor, self.y * factor, self.z * factor)

    def dot(self, other: "Points") -> Tensor:
        """Return the scalar product."""
        return self.x * other.x + self.y * other.y + self.z * other.z

    def cross(self, other: "Points") -> "Points":
        """Return the vector product."""
        return Points(
            self.y * other.z - self.z * other.y,
            self.z * other.x - self.x * other.z,
            self.x * other.y - self.y * other.x,
        )

    def length(self) -> Tensor:
        """Return the distance from the origin."""
        return self.dot(self).sqrt()

    def unit(self) -> "Points":
        """Return a single direction with length 1."""
        return self.times(1 / float(self.length()))


def place(x: float, y: float, z: float) -> Points:
    """Return a single place or direction."""
    return Points(torch.tensor(float(x)), torch.tensor(float(y)), torch.tensor(float(z)))


class Layer(NamedTuple):
    """A shape of one tissue."""

    tissue: Tissue
    depth_mm: Depth


def ellipsoid(p: Points, center: Points, radii: tuple[Length, Length, Length]) -> Depth:
    """Return the depth in an ellipsoid along the axes, ``k (1 - k) / |grad|`` to first order."""
    d = p.minus(center)
    a, b, c = radii
    scaled = Points(d.x / a, d.y / b, d.z / c)
    k = scaled.length()
    slope = Points(scaled.x / a, scaled.y / b, scaled.z / c).length()
    per_slope = torch.where(slope > 0, k / slope, torch.as_tensor(a, device=k.device))
    return (1 - k) * per_slope


def cylinder(x: Tensor, y: Tensor, radii: tuple[Length, Length], power: float = 2.0) -> Depth:
    """Return the depth in a cylinder along z whose section is a superellipse around the origin."""
    a, b = radii
    k = ((x / a).abs() ** power + (y / b).abs() ** power) ** (1 / power)
    smaller = torch.minimum(torch.as_tensor(a), torch.as_tensor(b)).to(k.device)
    return (1 - k) * smaller


def capsule(p: Points, start: Points, end: Points, radius: Length) -> Depth:
    """Return the depth in a rod with round ends from `start` to `end`."""
    axis, d = end.minus(start), p.minus(start)
    along = (d.dot(axis) / axis.dot(axis)).clamp(0, 1)
    return radius - d.minus(axis.times(along)).length()


def both(*depths: Depth) -> Depth:
    """Return the depth in the intersection."""
    deepest = depths[0]
    for depth in depths[1:]:
        deepest = torch.minimum(deepest, depth)
    return deepest


def inside(depth: Depth, edge_mm: Length) -> Coverage:
    """Return the share of a voxel of size `edge_mm` that lies below the surface."""
    return (0.5 + depth / edge_mm).clamp(0, 1)


def paint(
    layers: Iterable[Layer], free: Coverage, edge_mm: float
) -> tuple[TissueFractions, Coverage]:
    """Lay tissues from front to back; each takes what the ones before it left `free`.

    Returns the fractions ``(tissue, *batch, y, x)`` and what is still free, which is air.
    """
    fractions = torch.zeros(N_TISSUES, *free.shape, device=free.device)
    for layer in layers:
        taken = inside(layer.depth_mm, edge_mm) * free
        fractions[layer.tissue] += taken
        free = free - taken
    return fractions, free
