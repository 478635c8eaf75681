"""Random fields in space: smooth ones for physics, fine ones for the texture of tissue.

A field belongs to a patient and is evaluated at places in millimetres, so that it moves with what
it is painted on and does not depend on the matrix.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import grid_sample

from mrcli.simulate.shapes import Points

_N = 64  # points along each axis of the periodic block of texture
_SLOPE = 2.5  # amplitude over frequency^slope: above 2.5 level surfaces are smooth up close


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class SmoothField:
    """A few plane waves of long period: mean 0, standard deviation near 1."""

    wave_vectors: Float[Tensor, "wave 3"]  # cycles per mm
    phases: Float[Tensor, " wave"]

    def at(self, p: Points) -> Tensor:
        """Return the field at the places."""
        total = torch.zeros_like(p.x + p.y + p.z)
        for (kx, ky, kz), phase in zip(
            self.wave_vectors.tolist(), self.phases.tolist(), strict=True
        ):
            total = total + torch.cos(2 * math.pi * (kx * p.x + ky * p.y + kz * p.z) + phase)
        return total * math.sqrt(2 / len(self.phases))


@dataclass(frozen=True, eq=False)
class Texture:
    """A periodic block of noise whose amplitude falls with frequency; standard deviation 1."""

    block: Float[Tensor, "1 1 z y x"]  # with its first plane repeated at the end of every axis
    period_mm: float

    @property
    def correlation_mm(self) -> float:
        """Return the length over which the noise changes by a standard deviation."""
        steps = self.block.diff(dim=-1).square().mean().sqrt()
        return self.period_mm / _N / float(steps)

    def at(self, p: Points, *, scale: float = 1.0) -> Tensor:
        """Return the noise at the places; a `scale` above 1 makes it finer."""
        shape = (p.x + p.y + p.z).shape
        places = torch.stack([axis.expand(shape) for axis in p], -1) * (scale / self.period_mm)
        wrapped = 2 * (places - places.floor()) - 1
        found = grid_sample(
            self.block.to(places.device), wrapped.reshape(1, 1, 1, -1, 3), align_corners=True
        )
        return found.reshape(shape)


def draw_smooth_field(
    random: Generator, shortest_mm: float, longest_mm: float, n_waves: int = 6
) -> SmoothField:
    """Draw waves of random direction with periods between the two lengths."""
    directions = torch.randn(n_waves, 3, generator=random)
    directions = directions / directions.norm(dim=1, keepdim=True)
    octave = torch.rand(n_waves, 1, generator=random)
    period_mm = shortest_mm * (longest_mm / shortest_mm) ** octave
    phases = 2 * math.pi * torch.rand(n_waves, generator=random)
    return SmoothField(directions / period_mm, phases)


def draw_texture(random: Generator, period_mm: float = 150.0) -> Texture:
    """Draw a block; it holds structure from `period_mm` down to a 32nd of it."""
    white = torch.randn(_N, _N, _N, generator=random)
    k = torch.fft.fftfreq(_N) * _N
    radius = (k[:, None, None].square() + k[None, :, None].square() + k.square()).sqrt()
    weight = torch.where(radius > 0, radius.clamp(min=1) ** -_SLOPE, 0)
    noise = torch.fft.ifftn(torch.fft.fftn(white) * weight).real
    noise = noise / noise.std()
    for axis in range(3):
        noise = torch.cat((noise, noise.narrow(axis, 0, 1)), axis)
    return Texture(noise[None, None], period_mm)
