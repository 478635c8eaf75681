"""Undersampling patterns: which lines an accelerated Cartesian acquisition measures.

Masks are ``(frame, 1, y, 1)``: whole readout lines, counted from 0, the origin at ``n_y // 2``. The
rules are those of the CMRxRecon challenges, whose nominal acceleration does not count the ACS. The
density of random lines is that of Ahmad 2015, doi:10.1002/mrm.25507.
"""

from math import sqrt

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from mrcli.errors import ShapeError
from mrcli.types import SamplingMask

LineWeights = Float[Tensor, " y"]
Lines = Bool[Tensor, " y"]

DEFAULT_ACS_LINES = 20
_ALPHA = 0.2  # share of the Gaussian in the density of ktGaussian lines
_FLOOR = 0.1  # the outermost lines keep a chance
_SIGMA = 1 / 5  # width of the Gaussian over the number of lines
_CHALLENGE_ACCELERATIONS = (8, 16, 24)
_DEVIATIONS = 2.5  # standard deviations: one count in a hundred is missed
_MAX_RELATIVE_ERROR = 1 / 8  # of an estimated acceleration: half the step from 16 to 24 is 1/4


def centered_extent(n: int, length: int) -> tuple[int, int]:
    """Return the `length` indices around the origin of an axis of `n`, ``[start, stop)``.

    The start is ``n // 2 + ceil(-length / 2)``: an odd length has its middle on the origin, an even
    one a line more before the origin than after it.
    """
    start = n // 2 - length // 2
    return start, start + length


def acs_lines(n_y: int, n_acs: int) -> Lines:
    """Return the `n_acs` lines around the origin."""
    start, stop = centered_extent(n_y, n_acs)
    index = torch.arange(n_y)
    return (index >= start) & (index < stop)


def as_mask(lines: Bool[Tensor, "frame y"]) -> SamplingMask:
    """Return whole lines as a mask ``(frame, 1, y, 1)``."""
    return lines[:, None, :, None]


def require_possible(n_y: int, acceleration: int, n_acs: int) -> None:
    """Raise `ShapeError` for an acceleration below 1 and for more ACS lines than `n_y`."""
    if acceleration < 1 or not 0 <= n_acs <= n_y:
        raise ShapeError(
            f"no pattern of acceleration {acceleration} with {n_acs} ACS lines over {n_y} lines",
            hint="the acceleration is 1 or more, and the ACS is no longer than the matrix",
        )


def uniform_lines(
    n_y: int, acceleration: int, n_acs: int = DEFAULT_ACS_LINES, *, offset: int = 0
) -> SamplingMask:
    """Sample the lines ``offset, offset + R, ...`` and the ACS."""
    require_possible(n_y, acceleration, n_acs)
    lines = torch.arange(n_y) % acceleration == offset % acceleration
    return as_mask((lines | acs_lines(n_y, n_acs))[None])


def shifted_uniform_lines(
    n_frames: int, n_y: int, acceleration: int, n_acs: int = DEFAULT_ACS_LINES
) -> SamplingMask:
    """Sample every R-th line and the ACS; the first line moves on by one from frame to frame.

    Any R consecutive frames hold every line once (Kellman 2001, doi:10.1002/mrm.1110).
    """
    require_possible(n_y, acceleration, n_acs)
    frames = torch.arange(n_frames)[:, None]
    lines = (torch.arange(n_y) - frames) % acceleration == 0
    return as_mask(lines | acs_lines(n_y, n_acs))


def kt_gaussian_lines(
    n_frames: int, n_y: int, acceleration: int, n_acs: int = DEFAULT_ACS_LINES, *, seed: int
) -> SamplingMask:
    """Draw ``round(n_y / R)`` lines per frame, denser near the origin, and add the ACS.

    Lines are drawn with `kt_gaussian_density`; one that is drawn twice moves to the nearest free
    line. Those that fall into the ACS are lost in it: the published rule.
    """
    require_possible(n_y, acceleration, n_acs)
    random = torch.Generator().manual_seed(seed)
    n_lines = lines_per_frame(n_y, acceleration)
    drawn = [_draw_lines(kt_gaussian_density(n_y), n_lines, random) for _ in range(n_frames)]
    return as_mask(torch.stack(drawn) | acs_lines(n_y, n_acs))


def kt_gaussian_density(n_y: int) -> LineWeights:
    """Return the chance of each line at one draw: a Gaussian of width ``n_y / 5`` on a floor."""
    k = torch.arange(n_y, dtype=torch.float64) - n_y // 2
    gaussian = torch.exp(-((k / (_SIGMA * n_y)) ** 2))
    weights = _FLOOR + _ALPHA / (1 - _ALPHA) * gaussian
    return weights / weights.sum()


def lines_per_frame(n_y: int, acceleration: float) -> int:
    """Return ``n_y / R``, rounded half up, at least one line."""
    return max(1, int(n_y / acceleration + 0.5))


def acceleration_of_random_lines(
    frames: Bool[Tensor, "frame y"], acs: tuple[int, int]
) -> float | None:
    """Estimate R from the number of lines outside the ACS; the density gives their share.

    A published R is taken where it alone explains the number; where several do, None.
    """
    n_frames, n_y = frames.shape
    start, stop = acs
    share = 1 - float(kt_gaussian_density(n_y)[start:stop].sum())
    outside = (frames[:, :start].sum(-1) + frames[:, stop:].sum(-1)).double()
    mean, most = float(outside.mean()), int(outside.max())
    published = [
        r
        for r in _CHALLENGE_ACCELERATIONS
        if _explains(lines_per_frame(n_y, r), share, n_frames, mean) and most * r <= n_y + r / 2
    ]
    if len(published) == 1:
        return float(published[0])
    is_precise = sqrt((1 - share) / (n_frames * mean)) <= _MAX_RELATIVE_ERROR
    return round(n_y * share / mean, 1) if is_precise and not published else None


def _explains(n_drawn: int, share: float, n_frames: int, mean_outside: float) -> bool:
    """Say whether so many draws per frame leave so many lines outside the ACS, on average."""
    deviation = sqrt(n_drawn * share * (1 - share) / n_frames)
    return abs(mean_outside - n_drawn * share) <= _DEVIATIONS * max(deviation, 1 / n_frames)


def _draw_lines(density: LineWeights, n_lines: int, random: Generator) -> Lines:
    lines = torch.zeros(len(density), dtype=torch.bool)
    for line in torch.multinomial(density, n_lines, replacement=True, generator=random):
        lines[_nearest_free(lines, int(line))] = True
    return lines


def _nearest_free(lines: Lines, wanted: int) -> int:
    free = (~lines).nonzero().flatten()
    return int(free[(free - wanted).abs().argmin()])
