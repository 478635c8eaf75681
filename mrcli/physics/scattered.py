"""Samples that are no whole lines: spokes and random points."""

from collections.abc import Iterator
from math import sqrt

from jaxtyping import Bool, Int
from torch import Tensor, cat, stack
from torch.nn.functional import pad

Samples = Bool[Tensor, "frame y x"]

_STEADY_RINGS = 0.8  # of the rings cut each spoke twice; spokes merge on a few
_ALONE = 0.1  # of the samples have no neighbor; on spokes all have, at random 1 in 6 at R 5
_REGULAR = 0.8  # of the gaps in a row are equal in a lattice of points


def count_spokes(samples: Samples) -> int | None:
    """Count the runs of samples along squares around the origin: each cuts a spoke twice."""
    cuts = stack([_count_runs(ring) for ring in _outer_rings(samples)])
    n_cuts = int(cuts.median())
    is_steady = float((cuts == n_cuts).float().mean()) >= _STEADY_RINGS
    return n_cuts // 2 if is_steady and n_cuts >= 4 else None


def acceleration_of_spokes(n_spokes: int) -> float | None:
    """Return the smallest whole R with ``floor(180 / (0.6 R)) == n_spokes``."""
    acceleration = 300 // (n_spokes + 1) + 1
    return float(acceleration) if 300 // acceleration == n_spokes else None


def are_random_points(samples: Samples) -> bool:
    """Say whether many samples stand alone, and on no lattice. Dense points cannot be told."""
    alone = samples & (_count_neighbors(samples) == 0)
    if int(alone.sum()) <= _ALONE * int(samples.sum()):
        return False
    gaps = _gaps_in_rows(alone)
    return len(gaps) > 0 and int((gaps == gaps.mode().values).sum()) < _REGULAR * len(gaps)


def _count_neighbors(samples: Samples) -> Int[Tensor, "frame y x"]:
    n_y, n_x = samples.shape[-2:]
    padded = pad(samples.int(), (1, 1, 1, 1))
    around = [padded[:, y : y + n_y, x : x + n_x] for y in range(3) for x in range(3)]
    return stack(around).sum(0) - samples.int()


def _gaps_in_rows(samples: Samples) -> Int[Tensor, " gap"]:
    frame, y, x = samples.nonzero().unbind(-1)
    is_same_row = (frame.diff() == 0) & (y.diff() == 0)
    return x.diff()[is_same_row]


def _outer_rings(samples: Samples) -> Iterator[Bool[Tensor, "frame ring"]]:
    """Yield squares that fit the matrix and the circle of half its longer side: spokes end there.

    Near the origin spokes merge, so the inner squares are left out.
    """
    y, x = samples.shape[-2] // 2, samples.shape[-1] // 2
    within_matrix = min((n - 1) // 2 for n in samples.shape[-2:])
    within_circle = int(max(samples.shape[-2:]) / 2 / sqrt(2)) - 1  # its corners too
    largest = min(within_matrix, within_circle)
    for radius in range(max(1, largest * 2 // 3), largest + 1):
        square = samples[:, y - radius : y + radius + 1, x - radius : x + radius + 1]
        right, left = square[:, 1:, -1], square[:, :-1, 0].flip(-1)
        yield cat([square[:, 0, 1:], right, square[:, -1, :-1].flip(-1), left], -1)


def _count_runs(ring: Bool[Tensor, "frame ring"]) -> Int[Tensor, " frame"]:
    return (ring & ~ring.roll(1, -1)).sum(-1)
