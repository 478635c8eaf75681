"""Line patterns of clinical protocols: variable density, partial Fourier, full sampling."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mrcli.errors import ShapeError
from mrcli.physics.patterns import (
    DEFAULT_ACS_LINES,
    acs_lines,
    as_mask,
    lines_per_frame,
    require_possible,
)
from mrcli.physics.sampling import find_acs
from mrcli.types import SamplingMask

Lines = Bool[Tensor, " y"]
LineWeights = Float[Tensor, " y"]

_POWER = 2  # of the fall of the density; Lustig 2007 tried 1 to 6


def full_lines(n_y: int) -> SamplingMask:
    """Sample every line."""
    return as_mask(torch.ones(1, n_y, dtype=torch.bool))


def variable_density_lines(
    n_y: int, acceleration: int, n_acs: int = DEFAULT_ACS_LINES, *, seed: int
) -> SamplingMask:
    """Draw random lines, denser near the origin and the same in every frame, and add the ACS.

    Of the lines outside the ACS exactly ``(n_y - n_acs) / R`` are drawn, rounded half up, at least
    one, none twice: as many as a lattice of spacing R has there. The ACS is not counted. The chance
    of a line is `polynomial_density` (Lustig 2007, doi:10.1002/mrm.21391). Raises `ShapeError` for
    an acceleration below 1 or more ACS lines than `n_y`.
    """
    require_possible(n_y, acceleration, n_acs)
    acs = acs_lines(n_y, n_acs)
    if bool(acs.all()):
        return full_lines(n_y)
    weights = polynomial_density(n_y) * ~acs
    random = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(weights, lines_per_frame(n_y - n_acs, acceleration), generator=random)
    return as_mask(acs.index_fill(0, drawn, 1)[None])


def polynomial_density(n_y: int) -> LineWeights:
    """Return ``(1 - |k| / k_max)^2``, normalised; `k_max` is one line outside the matrix."""
    k = torch.arange(n_y, dtype=torch.float64) - n_y // 2
    weights = (1 - k.abs() / (n_y // 2 + 1)) ** _POWER
    return weights / weights.sum()


def partial_fourier(
    mask: SamplingMask, fraction: float, *, keeps_start: bool = False
) -> SamplingMask:
    """Remove the lines beyond a fraction of ky: those at the start of the axis, or at its end.

    Args:
        mask: the pattern inside; its other axes stay.
        fraction: kept share of the lines of the matrix, above 1/2 and up to 1; rounded half up to
            whole lines.
        keeps_start: remove the end of the axis.

    Returns:
        A mask of the same shape. The origin is always kept.

    Raises:
        ShapeError: the fraction is out of range, or lines of the ACS would go. What is sampled
            fully has no ACS of its own: there the origin must stay.

    """
    if not 0.5 < fraction <= 1:
        raise ShapeError(
            f"no partial Fourier with a fraction of {fraction}", hint="above 0.5, up to 1"
        )
    kept = _kept_lines(mask.shape[-2], fraction, keeps_start=keeps_start)
    if not bool(kept[_needed_lines(mask)].all()):
        raise ShapeError(
            f"a partial Fourier fraction of {fraction} cuts into the ACS", hint="raise the fraction"
        )
    return mask & kept[:, None]


def _kept_lines(n_y: int, fraction: float, *, keeps_start: bool) -> Lines:
    n_kept = int(fraction * n_y + 0.5)
    index = torch.arange(n_y)
    return index < n_kept if keeps_start else index >= n_y - n_kept


def _needed_lines(mask: SamplingMask) -> slice:
    n_y = mask.shape[-2]
    acs = find_acs(mask)
    is_own = acs is not None and acs.y != (0, n_y)
    return slice(*acs.y) if acs is not None and is_own else slice(n_y // 2, n_y // 2 + 1)
