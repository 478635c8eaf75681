"""A simple beating heart of ellipses, quick to make: for tests that need any small scan.

Soft-edged ellipses with the brightness of balanced steady-state imaging. It has the sizes, the
sparsity and the motion of a short-axis cine; it has no flow, no breathing and no off-resonance.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mrcli.physics.encoding import expand_coils, fft2c
from mrcli.types import Image, KSpace, SensitivityMaps

Plane = Float[Tensor, "y x"]


@dataclass(frozen=True)
class PhantomSpec:
    """Size and noise of the simulated acquisition; lengths in millimetres."""

    n_frames: int = 12
    n_slices: int = 3
    n_coils: int = 10
    matrix: tuple[int, int] = (144, 192)  # (y, x)
    voxel_size_mm: tuple[float, float, float] = (2.0, 2.0, 8.0)  # (x, y, slice)
    snr: float = 30.0  # blood against the noise of a fully sampled, coil-combined image
    seed: int = 0


@dataclass(frozen=True)
class _Ellipse:
    center: tuple[float, float]  # (x, y) mm from the origin, y downwards
    radii: tuple[float, float]
    brightness: float
    angle_deg: float = 0.0


_BLOOD, _MUSCLE, _FAT, _LUNG, _BONE = 1.0, 0.32, 0.8, 0.06, 0.25
_EDGE_MM = 1.2  # half width of a tissue border: no harder than a voxel, so no Gibbs of its own
_THORAX = (
    _Ellipse((0, 0), (152, 112), _FAT),
    _Ellipse((0, 0), (142, 102), _MUSCLE),
    _Ellipse((-72, -4), (52, 76), _LUNG, 8),
    _Ellipse((70, 2), (48, 74), _LUNG, -8),
    _Ellipse((0, 78), (17, 15), _BONE),
    _Ellipse((0, 62), (9, 8), 0.55),  # spinal canal
    _Ellipse((24, 52), (11, 11), _BLOOD),  # descending aorta
    _Ellipse((10, -8), (62, 54), 0.7 * _FAT, 25),  # fat around the heart
)


def simulate_truth(spec: PhantomSpec) -> Complex[Tensor, "frame slice y x"]:
    """Return the noiseless complex image; blood is near 1."""
    generator = torch.Generator().manual_seed(spec.seed)
    texture = 1 + 0.06 * _smooth_field(spec, generator)
    phase = torch.polar(torch.ones(spec.matrix), 0.6 * _smooth_field(spec, generator, n_waves=2))
    planes = [
        torch.stack([_anatomy(spec, frame, index) for index in range(spec.n_slices)])
        for frame in range(spec.n_frames)
    ]
    return torch.stack(planes) * texture * phase


def simulate_maps(spec: PhantomSpec) -> SensitivityMaps:
    """Return maps ``(coil, y, x)`` of small loops on an ellipse around the thorax, unit RSS.

    Reception falls as on the axis of a loop, ``(1 + (d / a)^2)^(-3/2)``; its phase is the direction
    in which the loop lies.
    """
    x, y = _grid_mm(spec)
    coils = []
    for index in range(spec.n_coils):
        angle = 2 * math.pi * (index + 0.5) / spec.n_coils
        dx, dy = x - 175 * math.cos(angle), y - 135 * math.sin(angle)
        strength = (1 + (dx.square() + dy.square()) / 75**2) ** -1.5
        coils.append(torch.polar(strength, torch.atan2(dy, dx)))
    maps = torch.stack(coils)
    return maps / maps.abs().square().sum(0).sqrt()


def simulate_kspace(
    truth: Image, maps: SensitivityMaps, spec: PhantomSpec
) -> Complex[Tensor, "frame slice coil y x"]:
    """Return fully sampled noisy k-space of `truth` ``(frame, slice, y, x)``."""
    kspace: KSpace = fft2c(expand_coils(truth, maps))
    generator = torch.Generator().manual_seed(spec.seed + 1)
    noise = torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    return kspace + noise / spec.snr


def _anatomy(spec: PhantomSpec, frame: int, index: int) -> Plane:
    x, y = _grid_mm(spec)
    contraction = 0.5 - 0.5 * math.cos(2 * math.pi * frame / spec.n_frames)
    plane = torch.zeros(spec.matrix)
    for ellipse in (*_THORAX, *_heart(contraction, _level(spec, index))):
        inside = _inside(ellipse, x, y)
        plane = plane + inside * (ellipse.brightness - plane)
    return plane


def _level(spec: PhantomSpec, index: int) -> float:
    """Return the size of the heart in slice `index`, 1 at the base, smaller towards the apex."""
    return 1 - 0.35 * index / max(1, spec.n_slices - 1)


def _heart(contraction: float, level: float) -> tuple[_Ellipse, ...]:
    inner = level * (24 - 9 * contraction)
    outer = math.sqrt(inner**2 + level**2 * (33**2 - 24**2))  # the muscle keeps its area
    right = level * (21 - 5 * contraction)
    left, papillary = (22.0, -6.0), 0.17 * outer
    return (
        _Ellipse((left[0] - 0.95 * outer, -14), (right + 4, 1.35 * right + 4), _MUSCLE, 20),
        _Ellipse((left[0] - 0.95 * outer, -14), (right, 1.35 * right), _BLOOD, 20),
        _Ellipse(left, (outer, outer), _MUSCLE),
        _Ellipse(left, (inner, inner), _BLOOD),
        _Ellipse((left[0] + 0.55 * inner, left[1] - 0.45 * inner), (papillary, papillary), _MUSCLE),
        _Ellipse((left[0] + 0.1 * inner, left[1] + 0.65 * inner), (papillary, papillary), _MUSCLE),
    )


def _inside(ellipse: _Ellipse, x: Plane, y: Plane) -> Plane:
    angle = math.radians(ellipse.angle_deg)
    dx, dy = x - ellipse.center[0], y - ellipse.center[1]
    along = (dx * math.cos(angle) + dy * math.sin(angle)) / ellipse.radii[0]
    across = (dy * math.cos(angle) - dx * math.sin(angle)) / ellipse.radii[1]
    depth_mm = (1 - torch.hypot(along, across)) * min(ellipse.radii)
    return torch.sigmoid(2 * depth_mm / _EDGE_MM)


def _grid_mm(spec: PhantomSpec) -> tuple[Plane, Plane]:
    n_y, n_x = spec.matrix
    y = (torch.arange(n_y) - n_y // 2) * spec.voxel_size_mm[1]
    x = (torch.arange(n_x) - n_x // 2) * spec.voxel_size_mm[0]
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return columns, rows


def _smooth_field(spec: PhantomSpec, generator: torch.Generator, n_waves: int = 24) -> Plane:
    """Return a random field of standard deviation near 1, periods of 20 to 200 mm."""
    x, y = _grid_mm(spec)
    field = torch.zeros(spec.matrix)
    for _ in range(n_waves):
        direction, position, octave = torch.rand(3, generator=generator).tolist()
        period_mm = 20 * 10**octave if n_waves > 2 else 300
        kx = math.cos(2 * math.pi * direction) / period_mm
        ky = math.sin(2 * math.pi * direction) / period_mm
        field += torch.cos(2 * math.pi * (kx * x + ky * y + position))
    return field * math.sqrt(2 / n_waves)
