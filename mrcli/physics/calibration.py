"""The block of fully sampled k-space around the origin that calibrates coils and noise."""

from mrcli.physics.sampling import Acs, find_acs
from mrcli.types import SamplingMask

CALIBRATION_SAMPLES = 24  # per axis: maps are smooth, more adds time and no detail

Block = tuple[slice, slice]


def calibration_block(mask: SamplingMask, matrix: tuple[int, int]) -> Block | None:
    """Return ``(y, x)`` of the part nearest the origin of what every frame samples fully.

    None where there is no such part.
    """
    acs = find_acs(mask)
    return None if acs is None else block_of(acs, matrix)


def block_of(acs: Acs, matrix: tuple[int, int]) -> Block:
    """Return the part of an ACS that is nearest the origin."""
    n_y, n_x = matrix
    return _nearest_origin(acs.y, n_y), _nearest_origin(acs.x or (0, n_x), n_x)


def _nearest_origin(extent: tuple[int, int], n: int) -> slice:
    size = min(extent[1] - extent[0], CALIBRATION_SAMPLES)
    start = min(max(n // 2 - size // 2, extent[0]), extent[1] - size)
    return slice(start, start + size)
