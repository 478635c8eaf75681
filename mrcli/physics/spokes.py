"""Pseudo-radial masks: spokes on the Cartesian grid that turn from frame to frame.

The rule is that of CMRxRecon2025. A line of one sample's width through the middle of a square is
turned by nearest neighbor, in equal steps from 0 to 180 degrees, both included; the square is as
wide as the longer axis, and the matrix is cut out of it around the origin. A spoke thus ends on the
circle that touches the square. Where the side of the square is even no row is its middle: the
line lies half a sample off, and the spokes of 0 and of 180 degrees stand side by side.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mrcli.errors import ShapeError
from mrcli.physics.patterns import (
    DEFAULT_ACS_LINES,
    acs_lines,
    centered_extent,
    require_possible,
)
from mrcli.types import SamplingMask

Distances = Float[Tensor, "spoke y x"]
Angles = Float[Tensor, "spoke 1 1"]

_FRAME_TURN_DEG = 137.5  # the golden angle
_DECIMALS = 9  # of a sample: more is rounding error of the sines


def kt_radial_spokes(
    n_frames: int, matrix: tuple[int, int], acceleration: int, n_acs: int = DEFAULT_ACS_LINES
) -> SamplingMask:
    """Draw `spokes_per_frame` spokes and a centered block of `n_acs` by `n_acs` samples.

    Each frame is turned by a further 137.5 degrees. Of the official mask of 198 x 442 at R 16, 10
    samples of 1,050,192 differ, all of them ties. No official mask was at hand whose longer axis is
    odd: there the line goes through the origin.

    Args:
        n_frames: how many frames to draw.
        matrix: samples along (y, x).
        acceleration: the nominal R, 1 to 300; the block is not counted.
        n_acs: side of the block.

    Returns:
        The mask, ``(frame, 1, y, x)``.

    Raises:
        ShapeError: there is no spoke at this acceleration, or the block exceeds the matrix.

    """
    require_possible(min(matrix), acceleration, n_acs)
    n_spokes = spokes_per_frame(acceleration)
    block = acs_lines(matrix[0], n_acs)[:, None] & acs_lines(matrix[1], n_acs)
    turns = [_FRAME_TURN_DEG * frame for frame in range(n_frames)]
    frames = [_turned_lines(_angles(n_spokes, turn), matrix) | block for turn in turns]
    return torch.stack(frames)[:, None]


def spokes_per_frame(acceleration: int) -> int:
    """Return ``floor(180 / (0.6 R))``: 37, 18, 12 at R 8, 16, 24. Raises `ShapeError` at 0."""
    n_spokes = 300 // acceleration
    if n_spokes == 0:
        raise ShapeError(f"no spoke is left at acceleration {acceleration}", hint="300 is the most")
    return n_spokes


def _angles(n_spokes: int, turn_deg: float) -> Angles:
    steps = torch.linspace(0, 180, n_spokes + 1, dtype=torch.float64)
    return (steps + turn_deg).remainder(360).deg2rad()[:, None, None]


def _turned_lines(angles: Angles, matrix: tuple[int, int]) -> Bool[Tensor, "y x"]:
    """Sample what lies nearest to one of the lines; at 0 a line runs along y, at 90 along x."""
    side = max(matrix)
    y, x = (_from_middle(side, n) for n in matrix)
    across = (x * angles.cos() + y[:, None] * angles.sin()).round(decimals=_DECIMALS)
    along = y[:, None] * angles.cos() - x * angles.sin()
    line = 0.0 if side % 2 else -0.5
    is_nearest = (line - 0.5 <= across) & (across < line + 0.5)
    is_tie = (across == line + 0.5) & _takes_ties(angles, along)
    return ((is_nearest | is_tie) & (along.abs() <= side / 2)).any(0)


def _takes_ties(angles: Angles, along: Distances) -> Bool[Tensor, "spoke y x"]:
    """Say which samples midway between two rows belong to the line.

    They occur in even squares, on the diagonals at 45, 135, 225 and 315 degrees. Rounding errors of
    the program behind the official mask decided, and that mask is all that tells how: all belong at
    225 and 315 degrees, none at 135, and at 45 one half of the spoke (and 5 samples of the other).
    """
    is_upper_half = (angles.cos() > 0) & (along < 0)
    return (angles.sin() < 0) | is_upper_half


def _from_middle(side: int, n: int) -> Float[Tensor, " n"]:
    """Return where `n` centered samples lie, in samples from the middle of the square."""
    start, stop = centered_extent(side, n)
    return torch.arange(start, stop, dtype=torch.float64) - (side - 1) / 2
