"""Equispaced lines: how far apart the lines of an accelerated acquisition are."""

from itertools import pairwise
from math import gcd

from jaxtyping import Bool
from torch import Tensor

Extent = tuple[int, int]  # [start, stop)
FrameLines = Bool[Tensor, "frame y"]


def lattice_spacing(frames: FrameLines, acs: Extent) -> float | None:
    """Return the spacing of the lines outside the ACS, None where they are no lattice.

    Each frame may have a lattice of its own; all share the spacing. It is a mean, and no whole
    number, where the distances differ by one line.
    """
    outside = [_outside(frame, acs) for frame in frames]
    exact = _exact_spacing(frames, outside)
    return exact if exact is not None else _rounded_spacing(outside, acs)


def _outside(frame: Bool[Tensor, " y"], acs: Extent) -> list[int]:
    return [line for line in frame.nonzero().flatten().tolist() if not acs[0] <= line < acs[1]]


def _exact_spacing(frames: FrameLines, outside: list[list[int]]) -> float | None:
    common = gcd(*(line - lines[0] for lines in outside for line in lines))
    n_y = frames.shape[-1]
    for spacing in range(2, common + 1):
        if common % spacing == 0 and all(
            _is_lattice(frame, lines, spacing) and _is_evident(lines, spacing, n_y)
            for frame, lines in zip(frames, outside, strict=True)
        ):
            return float(spacing)
    return None


def _is_lattice(frame: Bool[Tensor, " y"], lines: list[int], spacing: int) -> bool:
    return len(lines) > 1 and bool(frame[lines[0] : lines[-1] + 1 : spacing].all())


def _is_evident(lines: list[int], spacing: int, n_y: int) -> bool:
    """Say whether the lines are a lattice by more than chance: any two lines have one spacing."""
    fills_matrix = lines[0] < spacing and lines[-1] >= n_y - spacing
    return lines[-1] - lines[0] > spacing and (len(lines) > 2 or fills_matrix)


def _rounded_spacing(outside: list[list[int]], acs: Extent) -> float | None:
    """Return the mean spacing of a lattice that was rounded to whole lines, as fastMRI's are."""
    sides = [[line for line in lines if line < acs[0]] for lines in outside]
    sides += [[line for line in lines if line >= acs[0]] for lines in outside]
    gaps = [b - a for side in sides for a, b in pairwise(side)]
    is_lattice = len(gaps) >= 6 * len(outside) and min(gaps) > 1 and max(gaps) - min(gaps) == 1
    return sum(gaps) / len(gaps) if is_lattice else None
