"""From tissues and contrast to the complex object that a scanner meets."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mrcli.simulate.anatomy import Rendering
from mrcli.simulate.body import Body
from mrcli.simulate.contrast import Conditions, Contrast
from mrcli.simulate.motion import Series
from mrcli.simulate.shapes import Points
from mrcli.simulate.tissues import Tissue

FineImage = Complex[Tensor, "frame fine_y fine_x"]
FinePlane = Float[Tensor, "fine_y fine_x"]

# how much the tissue's own structure changes its brightness, standard deviation
_GRAIN = {
    Tissue.LUNG: 0.30,
    Tissue.FAT: 0.07,
    Tissue.MUSCLE: 0.10,
    Tissue.BONE: 0.12,
    Tissue.LIVER: 0.06,
    Tissue.FLUID: 0.05,
    Tissue.MYOCARDIUM: 0.06,
    Tissue.SCAR: 0.12,
    Tissue.LEFT_BLOOD: 0.05,
    Tissue.RIGHT_BLOOD: 0.07,
}
_GRAIN_SCALE = 2.5  # times finer than the shapes that the texture gives to organs
_SLAB_SHARE = 0.09  # of half the field of view
_STRETCH_REACH_MM = 55.0
_STRETCH = 0.25  # of the muscle towards the center at full contraction, for its grain


@dataclass(frozen=True)
class FieldSpread:
    """How uneven the magnet and the transmitter are over the chest, standard deviations."""

    off_resonance_hz: float
    transmit: float


def conditions(
    body: Body, points: Points, field_strength_t: float, spread: FieldSpread
) -> Conditions:
    """Return what the readout meets at the places of a slice.

    Air has another susceptibility than tissue, so that off-resonance has a smooth part and one that
    follows the lungs; the shim leaves both.
    """
    smooth = body.off_resonance.at(points)
    fine = body.shading.at(points)
    return Conditions(
        field_strength_t,
        spread.off_resonance_hz * (0.9 * smooth + 0.4 * fine),
        (1 + spread.transmit * body.transmit.at(points)).clamp(min=0.1),
    )


def receive_phase(body: Body, points: Points) -> Complex[Tensor, "fine_y fine_x"]:
    """Return the smooth phase that eddy currents, the receiver and an echo off center leave.

    The last follows off-resonance, hence its finer field.
    """
    angle = 0.7 * body.phase.at(points) + 0.6 * body.shading.at(points)
    return torch.polar(torch.ones_like(angle), angle)


def saturation(n_rows: int, device: str) -> Float[Tensor, "fine_y 1"]:
    """Return the weight of the object along the phase encoding.

    Saturation slabs at either end of the field of view keep the body outside it from folding in.
    """
    away = (torch.arange(n_rows, device=device) - n_rows // 2).abs() / (n_rows / 2)
    edge = ((away - 1 + _SLAB_SHARE) / _SLAB_SHARE).clamp(0, 1)
    return (0.5 + 0.5 * torch.cos(math.pi * edge))[:, None]


def form_image(
    rendering: Rendering, contrast: Contrast, body: Body, contraction: Series
) -> FineImage:
    """Return the object in every frame: ``sum over tissues of fraction * preparation * readout``.

    A rendering of one moment serves all frames.
    """
    preparation = contrast.preparation.to(rendering.still.device)
    grain = body.texture.at(rendering.points, scale=_GRAIN_SCALE)
    still = _weighted(rendering.still, contrast.readout, grain)
    image = torch.einsum("tyx,tf->fyx", still, preparation.to(still.dtype))
    rows, columns = rendering.window
    near = rendering.in_window(rendering.points)
    rest = _at_rest(near, contraction.to(preparation.device))
    grain = body.texture.at(rest, scale=_GRAIN_SCALE)
    image[:, rows, columns] = sum(
        rendering.moving[tissue]
        * (1 + _GRAIN[tissue] * grain)
        * contrast.readout[tissue, ..., rows, columns]
        * preparation[tissue][:, None, None]
        for tissue in Tissue
    )
    return image


def _at_rest(p: Points, contraction: Series) -> Points:
    """Return where the tissue now at `p` was at the end of diastole; far away it rests."""
    near = torch.exp(-p.dot(p) / _STRETCH_REACH_MM**2)
    return p.times(1 + _STRETCH * contraction * near)


def _weighted(
    fractions: Float[Tensor, "tissue y x"], readout: Complex[Tensor, "tissue y x"], grain: FinePlane
) -> Complex[Tensor, "tissue y x"]:
    amount = torch.tensor([_GRAIN[tissue] for tissue in Tissue], device=grain.device)
    return fractions * (1 + amount[:, None, None] * grain) * readout


def systolic_velocity(cycle: float, peak_cm_s: float = 110.0) -> float:
    """Return the velocity of the blood in the aorta at a share of the cardiac cycle."""
    ejection = cycle / 0.34
    return peak_cm_s * math.sin(math.pi * ejection) ** 2 if 0 <= ejection <= 1 else 2.0
