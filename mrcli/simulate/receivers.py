"""The receivers of one scan: gains, compression, the noise that they share, and its level."""

import math

import torch
from jaxtyping import Complex
from torch import Tensor

from mrcli.simulate import coils
from mrcli.simulate.body import ThoraxSizes
from mrcli.simulate.heart import skin
from mrcli.simulate.planes import Plane
from mrcli.simulate.recipes import ScanRecipe, ScanSizes
from mrcli.simulate.shapes import Points
from mrcli.simulate.subjects import Subject

Receivers = tuple[
    Complex[Tensor, "virtual coil"],  # the mix of coils: gains and compression
    Complex[Tensor, "virtual virtual"],  # the covariance of their noise, mean power near 1
]

_REFERENCE_VOXEL_MM3 = 1.5 * 1.5 * 8.0
_REFERENCE_LINES = 200
_HEART_MM = 40.0  # half the side of the cube where the noise level is set
_PLACES = (32, 64)  # of a slice that decide which virtual coils see most of it


def receivers(recipe: ScanRecipe, subject: Subject, plane: Plane) -> Receivers:
    """Return the mix of coils and the correlation of their noise.

    What the coils see at the heart has a root mean square of 1, so that the noise level is that of
    the combined image there. Virtual coils are those that see most of `plane`, as of data: others
    would encode directions that no slice needs.
    """
    site, thorax = recipe.site, subject.body.thorax
    array = coils.place_array(site.array, thorax)
    gains = coils.draw_gains(site.array.n_coils, recipe.random("gains"), site.gain_spread)
    correlation = coils.noise_correlation(array, thorax, site.body_noise).to(gains.dtype)
    at_heart = gains[:, None] * _seen(array, _at_the_heart())
    gains = gains / at_heart.abs().square().sum(0).mean().sqrt()
    mixing = torch.diag(gains)
    covariance = torch.diag(gains / gains.abs().square().mean().sqrt())
    covariance = coils.mixed_covariance(covariance, correlation)
    if site.n_virtual < site.array.n_coils:
        in_slice = gains[:, None] * _seen(array, _in_the_body(plane, thorax))
        virtual = coils.compression_matrix(in_slice, site.n_virtual)
        mixing, covariance = virtual @ mixing, coils.mixed_covariance(virtual, covariance)
    return mixing, covariance


def _seen(array: coils.Currents, p: Points) -> Complex[Tensor, "coil place"]:
    x, y, _ = coils.magnetic_field(array, p, wire_mm=coils.WIRE_MM)
    return torch.complex(x, -y)


def _at_the_heart() -> Points:
    random = torch.Generator().manual_seed(0)  # the points only sample an average
    x, y, z = _HEART_MM * (2 * torch.rand(3, 1000, generator=random) - 1)
    return Points(x, y, z)


def _in_the_body(plane: Plane, thorax: ThoraxSizes) -> Points:
    """Return places of the slice inside the body; the arms do not count."""
    p = Points(*(axis.flatten() for axis in plane.points(_PLACES)))
    is_inside = skin(p.x - thorax.center_x, p.y - thorax.center_y, thorax) > 0
    return Points(p.x[is_inside], p.y[is_inside], p.z[is_inside])


def noise_level(recipe: ScanRecipe, sizes: ScanSizes) -> float:
    """Return sigma for a magnetisation of 1: signal grows with field, voxel and measuring time."""
    protocol, site = recipe.protocol, recipe.site
    voxel = protocol.fov_x_mm * protocol.fov_y_mm / math.prod(sizes.matrix) * protocol.thickness_mm
    lines = math.sqrt(protocol.averages * sizes.matrix[0] / _REFERENCE_LINES)
    return 1 / (site.snr * (site.field_strength_t / 3) * (voxel / _REFERENCE_VOXEL_MM3) * lines)
