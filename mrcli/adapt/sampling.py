"""How scans of a site are undersampled for trials: its own patterns, or parts of what it acquired.

Acquired samples are split without overlap (self-supervision: Yaman 2020, doi:10.1002/mrm.28378);
the ACS, which calibrates the coils, always stays with the network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mrcli.errors import MrcliError
from mrcli.physics.calibration import calibration_block
from mrcli.physics.pattern_names import draw_mask, parse_pattern
from mrcli.physics.sampling import union_over_frames
from mrcli.types import SamplingMask

WITHHELD_SHARE = 0.3  # of what was acquired outside the ACS
_FEWEST_WITHHELD = 2  # lines, or samples, of all frames together


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Sampled:
    """A mask and what it is called."""

    mask: SamplingMask
    name: str


def drawn_masks(
    patterns: Sequence[str], n_frames: int, matrix: tuple[int, int], random: Generator
) -> Iterator[Sampled]:
    """Yield a mask per pattern, such as ``Uniform8``, of those that fit the matrix."""
    for name in patterns:
        pattern, acceleration = parse_pattern(name)
        seed = int(torch.randint(2**31, (1,), generator=random))
        n_acs = min(20, min(matrix) // 2)
        try:
            mask = draw_mask(
                pattern, acceleration, n_frames=n_frames, matrix=matrix, n_acs=n_acs, seed=seed
            )
        except MrcliError:
            continue  # the pattern does not fit this matrix; the others do
        yield Sampled(mask, name)


def split_samples(mask: SamplingMask, matrix: tuple[int, int], random: Generator) -> SamplingMask:
    """Return what of an acquired mask is withheld, frame by frame, never of the ACS.

    Nothing is True where too little would be left to judge by.
    """
    outside = mask & ~_calibrating(mask, matrix)
    chance = torch.rand(outside.shape, generator=random).to(mask.device)
    withheld = outside & (chance < WITHHELD_SHARE)
    return withheld if int(withheld.sum()) >= _FEWEST_WITHHELD else torch.zeros_like(mask)


def _calibrating(mask: SamplingMask, matrix: tuple[int, int]) -> SamplingMask:
    """Mark the ACS that every frame has, else that of all together."""
    block = calibration_block(mask, matrix) or calibration_block(union_over_frames(mask), matrix)
    marked = torch.zeros_like(mask)
    if block is not None:
        y, x = block
        marked[..., y, x if mask.shape[-1] > 1 else slice(None)] = True
    return marked


def is_one_fixed_lattice(masks: Sequence[Tensor]) -> bool:
    """Say whether all scans share one mask ``(frame, 1, y, x)``, equal in all frames.

    Then some samples are never seen by any scan, and nothing can be learned about them.
    """
    first = masks[0]
    is_static = all(bool((one == one[:1]).all()) for one in masks)
    is_same = all(
        one.shape[1:] == first.shape[1:] and torch.equal(one[0], first[0]) for one in masks
    )
    return is_static and is_same and not bool(first.all())
