"""Receive coils: loops around the torso, what they see, the noise they share, fewer virtual ones.

Reception follows from reciprocity: a loop sees the transverse magnetisation at a place as strongly
as a current in it would make a transverse field there (Hoult 1976,
doi:10.1016/0022-2364(76)90233-X), ``S = Bx - i By`` with the main field along z. The noise that the
body gives to two loops is the overlap of their electric fields (Roemer 1990,
doi:10.1002/mrm.1910160203), which follow the vector potential.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from mrcli.simulate.body import ThoraxSizes
from mrcli.simulate.planes import Grid, Plane
from mrcli.simulate.shapes import Points
from mrcli.types import CoilMatrix, SensitivityMaps

_N_ELEMENTS = 24  # of current around a loop: the sum converges faster than any power
_COARSE_MM = 6.0  # fields are smooth: they are computed so far apart and interpolated
WIRE_MM = 12.0  # half the width of a printed conductor, and the blur of the grid
_BODY_POINTS = 1500  # where the electric fields are compared
_HEART_COVERAGE_MM = 130.0  # height of the arrays

Loops = Float[Tensor, "*coil element 3"]


@dataclass(frozen=True)
class CoilArray:
    """A front and a back array of equal loops, in rows (head to feet) and columns."""

    front: tuple[int, int]
    back: tuple[int, int]
    loop_radius_mm: float
    gap_mm: float  # from the skin to the loops
    spread_deg: float = 60.0  # the columns lie within this angle to either side

    @property
    def n_coils(self) -> int:
        """Return the number of loops."""
        return self.front[0] * self.front[1] + self.back[0] * self.back[1]


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Currents:
    """Elements of current: where they are and where they point, in millimetres."""

    places: Loops
    elements: Loops


def place_array(array: CoilArray, thorax: ThoraxSizes) -> Currents:
    """Lay an array around a patient; the rows are centered on the heart."""
    centers = [
        _on_body(side, row, column, shape, array, thorax)
        for side, shape in ((-1, array.front), (1, array.back))
        for row in range(shape[0])
        for column in range(shape[1])
    ]
    loops = [circle(center, normal, array.loop_radius_mm) for center, normal in centers]
    return Currents(
        torch.stack([one.places for one in loops]), torch.stack([one.elements for one in loops])
    )


def circle(center: Float[Tensor, "3"], normal: Float[Tensor, "3"], radius_mm: float) -> Currents:
    """Return one loop of unit current, counted right-handed around its normal."""
    turn = 2 * math.pi * torch.arange(_N_ELEMENTS, dtype=center.dtype) / _N_ELEMENTS
    normal = normal / normal.norm()
    helper = torch.eye(3, dtype=center.dtype)[int(normal.abs().argmin())]
    u = torch.linalg.cross(normal, helper)
    u = u / u.norm()
    v = torch.linalg.cross(normal, u)
    radial = torch.cos(turn)[:, None] * u + torch.sin(turn)[:, None] * v
    along = -torch.sin(turn)[:, None] * u + torch.cos(turn)[:, None] * v
    length = 2 * math.pi * radius_mm / _N_ELEMENTS
    return Currents(center + radius_mm * radial, length * along)


def magnetic_field(
    currents: Currents, p: Points, *, wire_mm: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the field ``sum dl x r / |r|^3`` of every loop, ``(coil, *places)``, per mm.

    Biot and Savart's law without its constant ``mu_0 I / 4 pi``. Current spread over a conductor of
    radius `wire_mm` has no pole: ``|r|^2`` becomes ``|r|^2 + wire^2``.
    """
    x, y, z = (torch.zeros(len(currents.places), *p.x.shape, dtype=p.x.dtype) for _ in range(3))
    for place, element in zip(currents.places.unbind(1), currents.elements.unbind(1), strict=True):
        r = _from_elements(place, p)
        weight = (r.dot(r) + wire_mm**2) ** -1.5
        dx, dy, dz = (_per_coil(element[:, axis], p) for axis in range(3))
        x += (dy * r.z - dz * r.y) * weight
        y += (dz * r.x - dx * r.z) * weight
        z += (dx * r.y - dy * r.x) * weight
    return x, y, z


def vector_potential(currents: Currents, p: Points) -> Float[Tensor, "coil 3 place"]:
    """Return ``sum dl / |r|`` of every loop at a list of places."""
    total = torch.zeros(len(currents.places), 3, len(p.x), dtype=p.x.dtype)
    for place, element in zip(currents.places.unbind(1), currents.elements.unbind(1), strict=True):
        total += element[:, :, None] / _from_elements(place, p).length()[:, None]
    return total


def sensitivities(
    currents: Currents, plane: Plane, matrix: Grid, device: str = "cpu"
) -> SensitivityMaps:
    """Return ``Bx - i By`` of every loop over a plane, in arbitrary units."""
    coarse = (_n_coarse(matrix[0], plane.fov_mm[0]), _n_coarse(matrix[1], plane.fov_mm[1]))
    p = plane.points(matrix)
    rows = torch.linspace(0, 1, coarse[0])[:, None]
    columns = torch.linspace(0, 1, coarse[1])[None, :]
    y_mm = (matrix[0] - 1) * plane.fov_mm[0] / matrix[0]
    x_mm = (matrix[1] - 1) * plane.fov_mm[1] / matrix[1]
    first = Points(p.x[0, 0], p.y[0, 0], p.z[0, 0])
    places = first.plus(plane.y_axis.times(rows * y_mm)).plus(plane.x_axis.times(columns * x_mm))
    x, y, _ = magnetic_field(currents, places, wire_mm=WIRE_MM)
    parts = torch.stack((x, -y)).to(device)
    fine = interpolate(parts, matrix, mode="bicubic", align_corners=True)
    return torch.complex(fine[0], fine[1])


def noise_correlation(
    currents: Currents, thorax: ThoraxSizes, body_share: float
) -> Float[Tensor, "coil coil"]:
    """Return the correlation of the coils' noise, `body_share` of its power from the body.

    The rest is each coil's own: copper and preamplifier.
    """
    random = torch.Generator().manual_seed(0)  # the points only sample an integral
    unit = 2 * torch.rand(3, _BODY_POINTS, generator=random) - 1
    is_inside = unit[:2].abs().pow(thorax.roundness).sum(0) < 1
    x, y, z = unit[:, is_inside]
    p = Points(
        thorax.center_x + thorax.half_width * x,
        thorax.center_y + thorax.half_depth * y,
        220 * z,
    )
    fields = vector_potential(currents, p).flatten(1)
    overlap = fields @ fields.T
    size = overlap.diagonal().sqrt()
    own = torch.eye(len(size))
    return body_share * overlap / torch.outer(size, size) + (1 - body_share) * own


def draw_gains(n_coils: int, random: Generator, spread: float) -> Complex[Tensor, " coil"]:
    """Return the complex gain of every receiver: any phase, sizes that differ by `spread`."""
    size = 1 + spread * (2 * torch.rand(n_coils, generator=random) - 1)
    return torch.polar(size, 2 * math.pi * torch.rand(n_coils, generator=random))


def compression_matrix(
    maps: Complex[Tensor, "coil *places"], n_virtual: int
) -> Complex[Tensor, "virtual coil"]:
    """Return the orthonormal mix of coils that keeps most of what they see.

    The principal components of the coils over the places (Buehrer 2007, doi:10.1002/mrm.21237).
    """
    seen = maps.flatten(1)
    _, vectors = torch.linalg.eigh(seen @ seen.mH)
    return vectors.mH.flip(0)[:n_virtual].contiguous()


def mixed_covariance(
    matrix: Complex[Tensor, "virtual coil"], covariance: CoilMatrix
) -> Complex[Tensor, "virtual virtual"]:
    """Return the covariance of the mixed noise, ``M C M^H``."""
    return matrix @ covariance @ matrix.mH


def _on_body(
    side: int, row: int, column: int, shape: tuple[int, int], array: CoilArray, thorax: ThoraxSizes
) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
    """Return where a loop lies and its normal, which points to the middle of the body."""
    share = (column + 0.5) / shape[1] * 2 - 1
    angle = math.radians(array.spread_deg) * share
    x = (thorax.half_width + array.gap_mm) * math.sin(angle)
    y = side * (thorax.half_depth + array.gap_mm) * math.cos(angle)
    z = _HEART_COVERAGE_MM * ((row + 0.5) / shape[0] * 2 - 1)
    center = torch.tensor([thorax.center_x + x, thorax.center_y + y, z])
    return center, torch.tensor([-x / thorax.half_width**2, -y / thorax.half_depth**2, 0.0])


def _from_elements(place: Float[Tensor, "coil 3"], p: Points) -> Points:
    return p.minus(Points(*(_per_coil(place[:, axis], p) for axis in range(3))))


def _per_coil(values: Float[Tensor, " coil"], p: Points) -> Tensor:
    return values.view(-1, *(1,) * p.x.ndim)


def _n_coarse(n: int, fov_mm: float) -> int:
    return min(n, max(4, math.ceil(fov_mm / _COARSE_MM)))
