"""How the heart moves: contraction over the cardiac cycle, breathing, and beats that differ."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

Series = Float[Tensor, "*batch 1 1"]  # one number per frame, ready to meet (y, x)

_SYSTOLE = 0.36  # share of the cycle until the smallest volume
_FILLED_EARLY = 0.72  # share of the filling that is done when the atria contract
_EARLY_END, _ATRIAL_START = 0.68, 0.86


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class HeartState:
    """The heart at some moments: how far contracted (0 to 1) and how far moved by breathing."""

    contraction: Series
    shift_mm: Series  # of the whole heart, towards the feet


def contraction_at(cycle: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return the contraction at shares of the cardiac cycle, 0 at 0 and 1 at the end of systole.

    Ejection, early filling, rest, and the last part by the atria: the shape of a volume curve,
    smooth everywhere and periodic.
    """
    t = cycle - torch.floor(cycle)
    ejected = _smooth_step(t / _SYSTOLE)
    early = _smooth_step((t - _SYSTOLE) / (_EARLY_END - _SYSTOLE))
    late = _smooth_step((t - _ATRIAL_START) / (1 - _ATRIAL_START))
    return ejected - _FILLED_EARLY * early - (1 - _FILLED_EARLY) * late


def _smooth_step(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def over_the_cycle(n_frames: int) -> HeartState:
    """Return `n_frames` moments equally spaced over one beat, breath held."""
    cycle = torch.arange(n_frames, dtype=torch.float32) / n_frames
    return HeartState(contraction_at(cycle)[:, None, None], torch.zeros(n_frames, 1, 1))


def beat_after_beat(
    n_frames: int, random: Generator, *, drift_mm: float, mistrigger: float, cycle: float = 0.8
) -> HeartState:
    """Return one moment in each of `n_frames` beats, of a breath that drifts.

    A share `mistrigger` of them is taken at any moment of the cycle instead.
    """
    is_late = torch.rand(n_frames, generator=random) < mistrigger
    at = torch.where(is_late, torch.rand(n_frames, generator=random), cycle)
    shift = breathing_drift(n_frames, random, drift_mm)
    return HeartState(contraction_at(at)[:, None, None], shift[:, None, None])


def breathing_drift(n: int, random: Generator, size_mm: float) -> Float[Tensor, " beat"]:
    """Return the position of the diaphragm at `n` beats: a slow drift and a swing, mean 0."""
    beat = torch.arange(n, dtype=torch.float32) - (n - 1) / 2
    start, slope = torch.rand(2, generator=random).tolist()
    swing = torch.sin(2 * math.pi * (beat / 4.3 + start))
    drift = (2 * slope - 1) * beat / max(1.0, (n - 1) / 2)
    shift = size_mm * (0.5 * swing + 0.5 * drift)
    return shift - shift.mean()
