"""What a sampling mask says: its pattern, its ACS, its nominal and its true acceleration.

Everything is found from the mask alone, never from a name. `docs/conventions.md` has the terms.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

from jaxtyping import Bool
from torch import Tensor, cat, stack

from mrcli.physics.lattice import Extent, FrameLines, lattice_spacing
from mrcli.physics.patterns import (
    centered_extent,
    kt_gaussian_density,
    lines_per_frame,
)
from mrcli.types import KSpace, SamplingMask

Columns = Bool[Tensor, " x"]
Samples = Bool[Tensor, "frame y x"]

_MIN_ACS_LINES = 4  # fewer cannot hold a calibration kernel and its neighbours
_CHALLENGE_ACCELERATIONS = (8, 16, 24)
_WHOLE_LINE = 0.9  # a measured line may hold a few zeros by chance; a radial one is mostly empty
_DEVIATIONS = 2.5  # standard deviations: one count in a hundred is missed
_MAX_RELATIVE_ERROR = 1 / 8  # of an estimated acceleration: half the step from 16 to 24 is 1/4
_STEADY_RINGS = 0.8  # of the rings cut each spoke twice; spokes merge on a few


class Pattern(StrEnum):
    """The kinds of sampling that are told apart; names as the challenges write them."""

    FULL = "full"
    UNIFORM = "Uniform"  # one lattice of lines for all frames
    SHIFTED_UNIFORM = "shifted-uniform"  # the lattice moves from frame to frame
    KT_GAUSSIAN = "ktGaussian"  # random lines, new ones in every frame
    RANDOM = "random"  # random lines, the same in every frame
    KT_RADIAL = "ktRadial"  # spokes that turn from frame to frame
    RADIAL = "radial"  # the same spokes in every frame
    PARTIAL_FOURIER = "partial-fourier"  # one block, one side of k-space is missing
    REDUCED_RESOLUTION = "reduced-resolution"  # one block around the origin, both sides missing
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Acs:
    """The block that is fully sampled in every frame and holds the origin, ``[start, stop)``."""

    y: Extent
    x: Extent | None  # None: the whole readout


@dataclass(frozen=True)
class Sampling:
    """What was measured, in the terms of `docs/conventions.md`."""

    pattern: Pattern
    nominal_acceleration: float | None  # None: the mask does not tell
    true_acceleration: float
    acs: Acs | None
    is_partial_fourier: bool  # one side is missing, whatever the pattern is inside

    @property
    def is_fully_sampled(self) -> bool:
        """Say whether every sample of every frame was acquired."""
        return self.pattern is Pattern.FULL


def union_over_frames(mask: SamplingMask) -> Bool[Tensor, "1 1 y readout"]:
    """Return what was acquired in any frame: the mask of a time-averaged k-space."""
    return mask.any(0, keepdim=True)


def infer_mask(kspace: KSpace) -> SamplingMask:
    """Take exact zeros in all coils for samples that were not acquired.

    The readout axis of the answer is 1 where whole lines were acquired, `x` otherwise.
    """
    acquired = (kspace != 0).any(-3, keepdim=True)
    lines = acquired.any(-1, keepdim=True)
    is_whole = acquired.sum(-1, keepdim=True) >= _WHOLE_LINE * acquired.shape[-1]
    return lines if bool((is_whole == lines).all()) else acquired


def find_acs(mask: SamplingMask) -> Acs | None:
    """Find the contiguous block around the origin that every frame sampled, None without one.

    A lattice line that adjoins an ACS centered by the rule ``start = n // 2 + ceil(-L / 2)`` is
    not counted to it; otherwise the whole run of lines is the ACS, off-center or not. Of samples
    that are no whole lines it is the largest centered rectangle. Less than 4 lines are no ACS, and
    a frame without any sample has no say.
    """
    samples = mask[mask.flatten(1).any(1), 0]
    grid = _as_grid(samples)
    if grid is None:
        return _centered_block(samples.all(0))
    lines, columns = grid
    if len(lines) == 0:
        return None
    run = _run_at_origin(lines.all(0))
    x = None if bool(columns.all()) else _run_at_origin(columns)
    if run is None or (x is None and not columns.all()):
        return None
    y = _without_lattice_neighbors(run, lines)
    return Acs(y, x) if _is_enough(y, lines.shape[-1]) else None


def describe_sampling(mask: SamplingMask, n_x: int) -> Sampling:
    """Tell pattern, accelerations and ACS of a mask whose readout has `n_x` samples.

    The nominal acceleration is the spacing of a lattice (its mean where it varies by one line). Of
    random lines and of spokes it is the R whose published rule draws as many: ``round(n_y / R)``
    lines per frame, of which the density loses some in the ACS, and ``floor(180 / (0.6 R))``
    spokes. It is None where the count does not settle R.
    """
    samples = mask[:, 0]
    grid = _as_grid(samples)
    acs = find_acs(mask)
    if grid is None:
        pattern, nominal, is_partial = *_spoke_pattern(samples), False
    else:
        pattern, nominal, is_partial = _line_pattern(*grid, acs)
    true = samples.numel() / max(1, int(samples.sum()))
    if samples.shape[-1] not in (1, n_x):
        true *= n_x / samples.shape[-1]
    return Sampling(pattern, nominal, true, acs, is_partial)


def _as_grid(samples: Samples) -> tuple[FrameLines, Columns] | None:
    """Split a mask into lines times columns; None where it is no such product."""
    lines, columns = samples.any(-1), samples.any(0).any(0)
    is_grid = bool((samples == lines[..., None] & columns).all())
    return (lines, columns) if is_grid else None


def _line_pattern(
    lines: FrameLines, columns: Columns, acs: Acs | None
) -> tuple[Pattern, float | None, bool]:
    is_partial_x = _misses_one_side(_extent(columns), len(columns), 1)
    extent, n_y = _extent(lines.any(0)), lines.shape[-1]
    frames = lines[lines.any(-1)]  # an empty frame has no pattern
    if len(frames) == 0 or _has_gaps(columns):
        return Pattern.UNKNOWN, None, False
    if bool((frames.sum(-1) == extent[1] - extent[0]).all()):
        is_partial = is_partial_x or _misses_one_side(extent, n_y, 1)
        return *_block_pattern(lines, columns, is_partial=is_partial), is_partial
    is_fixed = bool((frames == frames[:1]).all())
    spacing = lattice_spacing(frames, _lines_of(acs))
    if spacing is not None:
        pattern = Pattern.UNIFORM if is_fixed else Pattern.SHIFTED_UNIFORM
        return pattern, spacing, is_partial_x or _misses_one_side(extent, n_y, spacing)
    if is_fixed:
        return Pattern.RANDOM, None, is_partial_x
    return Pattern.KT_GAUSSIAN, _acceleration_of_random_lines(frames, acs), is_partial_x


def _block_pattern(
    lines: FrameLines, columns: Columns, *, is_partial: bool
) -> tuple[Pattern, float | None]:
    if bool(lines.all() & columns.all()):
        return Pattern.FULL, 1.0
    if is_partial:
        return Pattern.PARTIAL_FOURIER, 1.0
    if int(lines.any(0).sum()) == 1 < lines.shape[-1] or int(columns.sum()) == 1 < len(columns):
        return Pattern.UNKNOWN, None  # a single line
    return Pattern.REDUCED_RESOLUTION, 1.0


def _lines_of(acs: Acs | None) -> Extent:
    return acs.y if acs is not None else (0, 0)


def _misses_one_side(extent: Extent, n: int, spacing: float) -> bool:
    """Say whether the samples reach further from the origin on one side than a lattice can."""
    before, after = n // 2 - extent[0], extent[1] - 1 - n // 2
    return abs(before - after) > spacing


def _acceleration_of_random_lines(frames: FrameLines, acs: Acs | None) -> float | None:
    """Estimate R from the number of lines outside the ACS; the density gives their share.

    A published R is taken where it alone explains the number; where several do, None.
    """
    n_frames, n_y = frames.shape
    start, stop = _lines_of(acs)
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


def _spoke_pattern(samples: Samples) -> tuple[Pattern, float | None]:
    n_spokes = _count_spokes(samples)
    if n_spokes is None:
        return Pattern.UNKNOWN, None
    is_fixed = bool((samples == samples[:1]).all())
    return (Pattern.RADIAL if is_fixed else Pattern.KT_RADIAL), _acceleration_of_spokes(n_spokes)


def _count_spokes(samples: Samples) -> int | None:
    """Count the runs of samples along squares around the origin: each cuts a spoke twice."""
    cuts = stack([_count_runs(ring) for ring in _outer_rings(samples)])
    n_cuts = int(cuts.median())
    is_steady = float((cuts == n_cuts).float().mean()) >= _STEADY_RINGS
    return n_cuts // 2 if is_steady and n_cuts >= 4 else None


def _outer_rings(samples: Samples) -> Iterator[Bool[Tensor, "frame ring"]]:
    y, x = samples.shape[-2] // 2, samples.shape[-1] // 2
    largest = min((n - 1) // 2 for n in samples.shape[-2:])
    for radius in range(max(1, largest // 2), largest + 1):
        square = samples[:, y - radius : y + radius + 1, x - radius : x + radius + 1]
        right, left = square[:, 1:, -1], square[:, :-1, 0].flip(-1)
        yield cat([square[:, 0, 1:], right, square[:, -1, :-1].flip(-1), left], -1)


def _count_runs(ring: Bool[Tensor, "frame ring"]) -> Tensor:
    return (ring & ~ring.roll(1, -1)).sum(-1)


def _acceleration_of_spokes(n_spokes: int) -> float | None:
    """Return the smallest whole R with ``floor(180 / (0.6 R)) == n_spokes``."""
    acceleration = 300 // (n_spokes + 1) + 1
    return float(acceleration) if 300 // acceleration == n_spokes else None


def _extent(sampled: Bool[Tensor, " n"]) -> Extent:
    index = sampled.nonzero().flatten()
    return (int(index[0]), int(index[-1]) + 1) if len(index) else (0, 0)


def _has_gaps(sampled: Bool[Tensor, " n"]) -> bool:
    start, stop = _extent(sampled)
    return int(sampled.sum()) < stop - start


def _run_at_origin(sampled: Bool[Tensor, " n"]) -> Extent | None:
    origin = len(sampled) // 2
    missing = (~sampled).nonzero().flatten().tolist()
    start = max((index + 1 for index in missing if index < origin), default=0)
    stop = min((index for index in missing if index >= origin), default=len(sampled))
    return (start, stop) if stop > origin else None


def _without_lattice_neighbors(run: Extent, lines: FrameLines) -> Extent:
    """Drop lattice lines that adjoin the ACS, if what is left is centered by the rule."""
    n_y = lines.shape[-1]
    if not bool(lines[:, : run[0]].any() | lines[:, run[1] :].any()):
        return run
    shorter = [(run[0] + before, run[1] - after) for before in (0, 1) for after in (0, 1)]
    centered = [
        y
        for y in shorter
        if y == centered_extent(n_y, y[1] - y[0])
        and lattice_spacing(lines[lines.any(-1)], y) is not None
    ]
    # calibration blocks have an even number of lines; an odd one is a block and its neighbour
    return max(centered, key=lambda y: ((y[1] - y[0]) % 2 == 0, y[1] - y[0]), default=run)


def _centered_block(sampled: Bool[Tensor, "y x"]) -> Acs | None:
    """Return the largest fully sampled rectangle that is centered in y and in x."""
    n_y, n_x = sampled.shape
    blocks: dict[int, Acs] = {}  # by area
    for length in range(_MIN_ACS_LINES, n_y + 1):
        start, stop = centered_extent(n_y, length)
        x = _centered_part(_run_at_origin(sampled[start:stop].all(0)), n_x)
        if x is None or x[1] - x[0] < _MIN_ACS_LINES:  # longer blocks are no wider
            break
        blocks[length * (x[1] - x[0])] = Acs((start, stop), x)
    return blocks[max(blocks)] if blocks else None


def _centered_part(run: Extent | None, n: int) -> Extent | None:
    if run is None:
        return None
    before, after = n // 2 - run[0], run[1] - n // 2
    return centered_extent(n, 2 * before + 1 if after > before else 2 * after)


def _is_enough(y: Extent, n_y: int) -> bool:
    return y[1] - y[0] >= min(_MIN_ACS_LINES, n_y)
