"""What a sampling mask says: its pattern, its ACS, its nominal and its true acceleration.

Everything is found from the mask alone, never from a name. `docs/conventions.md` has the terms.
"""

from dataclasses import dataclass
from enum import StrEnum

from jaxtyping import Bool
from torch import Tensor, stack, view_as_real

from mrcli.physics.lattice import Extent, FrameLines, lattice_spacing
from mrcli.physics.patterns import acceleration_of_random_lines, centered_extent
from mrcli.physics.scattered import acceleration_of_spokes, are_random_points, count_spokes
from mrcli.types import KSpace, SamplingMask

Columns = Bool[Tensor, " x"]
Samples = Bool[Tensor, "frame y x"]

_MIN_ACS_LINES = 4  # fewer cannot hold a calibration kernel and its neighbours
_WHOLE_LINE = 0.9  # a measured line may hold a few zeros by chance; a radial one is mostly empty


class Pattern(StrEnum):
    """The kinds of sampling that are told apart; names as the challenges write them."""

    FULL = "full"
    UNIFORM = "Uniform"  # one lattice of lines for all frames
    SHIFTED_UNIFORM = "shifted-uniform"  # the lattice moves from frame to frame
    KT_GAUSSIAN = "ktGaussian"  # random lines, new ones in every frame
    RANDOM = "random"  # random lines, the same in every frame
    KT_RADIAL = "ktRadial"  # spokes that turn from frame to frame
    RADIAL = "radial"  # the same spokes in every frame
    RANDOM_POINTS = "random-points"  # single samples, as of a Poisson disc
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

    The readout axis of the answer is 1 where whole lines were acquired, `x` otherwise. Stored in
    few steps, as whole numbers are, measured samples are zero by chance: lines count as whole if
    their zeros are no more than their samples of one step.
    """
    acquired = (kspace != 0).any(-3, keepdim=True)
    lines = acquired.any(-1, keepdim=True)
    is_whole = acquired.sum(-1, keepdim=True) >= _WHOLE_LINE * acquired.shape[-1]
    if bool((is_whole == lines).all()) or _are_zeros_by_chance(kspace, lines):
        return lines
    return acquired


def _are_zeros_by_chance(kspace: KSpace, lines: SamplingMask) -> bool:
    """Say whether zeros in the lines are as rare as the smallest value that is stored.

    Noise near zero is evenly spread over the steps: around zero lie eight values of one step.
    """
    frames = kspace.reshape(-1, *kspace.shape[-3:])  # one at a time: no copy of the whole
    levels = stack([view_as_real(frame).abs().amax(-1).amax(0) for frame in frames])
    held = levels[lines.reshape(len(levels), -1)]
    positive = held[held > 0]
    if len(positive) == 0 or positive.min() == positive.max():  # all alike: no noise at all
        return False
    return int((held == 0).sum()) <= int((positive == positive.min()).sum())


def find_acs(mask: SamplingMask) -> Acs | None:
    """Find the contiguous block around the origin that every frame sampled, None without one.

    Where lines of the lattice adjoin it or may be its own, the mask does not tell: then a length
    that four divides, or two, is taken, and of equal ones the block nearest to the origin.
    Otherwise the whole run of lines is the ACS, off-center or not. Of samples that are no whole
    lines it is the largest centered rectangle. Less than 4 lines are no ACS, and a frame without
    any sample has no say.
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
    if run is None or not _is_enough(run, lines.shape[-1]) or (x is None and not columns.all()):
        return None
    return Acs(_without_lattice_neighbors(run, lines), x)


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
        pattern, nominal, is_partial = *_scattered_pattern(samples), False
    else:
        shared = find_acs(union_over_frames(mask))
        pattern, nominal, is_partial = _line_pattern(*grid, acs, _lines_of(shared))
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
    lines: FrameLines, columns: Columns, acs: Acs | None, shared: Extent
) -> tuple[Pattern, float | None, bool]:
    is_partial_x = _misses_one_side(_extent(columns), len(columns), 1)
    extent, n_y = _extent(lines.any(0)), lines.shape[-1]
    frames = lines[lines.any(-1)]  # an empty frame has no pattern
    if len(frames) == 0 or _has_gaps(columns):
        return Pattern.UNKNOWN, None, False
    if bool((frames.sum(-1) == extent[1] - extent[0]).all()):
        is_partial = is_partial_x or _misses_one_side(extent, n_y, 1)
        return *_block_pattern(frames, columns, is_partial=is_partial), is_partial
    for block in (_lines_of(acs), shared):  # calibration lines may be in one frame only
        spacing = lattice_spacing(frames, block)
        if spacing is not None:
            pattern = Pattern.UNIFORM if _is_fixed(frames, block) else Pattern.SHIFTED_UNIFORM
            return pattern, spacing, is_partial_x or _misses_one_side(extent, n_y, spacing)
    if _is_fixed(frames, (0, 0)):
        return Pattern.RANDOM, None, is_partial_x
    return Pattern.KT_GAUSSIAN, acceleration_of_random_lines(frames, _lines_of(acs)), is_partial_x


def _is_fixed(frames: FrameLines, acs: Extent) -> bool:
    """Say whether all frames have the same lines outside the ACS."""
    is_same = (frames == frames[:1]).all(0)
    return bool(is_same[: acs[0]].all() & is_same[acs[1] :].all())


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


def _scattered_pattern(samples: Samples) -> tuple[Pattern, float | None]:
    n_spokes = count_spokes(samples)
    if n_spokes is None:
        return Pattern.RANDOM_POINTS if are_random_points(samples) else Pattern.UNKNOWN, None
    is_fixed = bool((samples == samples[:1]).all())
    return (Pattern.RADIAL if is_fixed else Pattern.KT_RADIAL), acceleration_of_spokes(n_spokes)


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
    """Drop lines from the ends that belong to the lattice, if the length without is likelier."""
    origin = lines.shape[-1] // 2
    shorter = [(run[0] + before, run[1] - after) for before in (0, 1) for after in (0, 1)]
    spacing = lattice_spacing(lines, run)
    blocks = [y for y in shorter if y[0] <= origin < y[1] and _is_kept(spacing, lines, y)]
    return max(blocks, key=lambda y: _likelihood(y, origin), default=run)


def _is_kept(spacing: float | None, lines: FrameLines, acs: Extent) -> bool:
    """Say whether the lattice is the same one outside `acs`; a mean spacing stays a mean."""
    found = lattice_spacing(lines, acs)
    if spacing is None or found is None:
        return False
    return found == spacing or not (found.is_integer() or spacing.is_integer())


def _likelihood(y: Extent, origin: int) -> tuple[bool, bool, int, int]:
    """Rank blocks: their usual lengths are 16, 20, 24, 32; an odd one is a block and a neighbor."""
    length = y[1] - y[0]
    return length % 4 == 0, length % 2 == 0, -abs(y[0] + y[1] - 2 * origin), length


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
