"""Readout oversampling of a simulated slice."""

from dataclasses import replace

from mrcli.physics.encoding import crop_readout
from mrcli.simulate.scans import SimulatedSlice


def without_oversampling(full: SimulatedSlice, factor: float) -> SimulatedSlice:
    """Keep the central ``1 / factor`` of the field of view along x, where the object is."""
    n_x = full.truth.shape[-1]
    n_kept = round(n_x / factor)
    start = n_x // 2 - n_kept // 2
    kept = slice(start, start + n_kept)
    return replace(
        full,
        truth=full.truth[..., kept],
        maps=full.maps[..., kept],
        kspace=crop_readout(full.kspace, n_kept),
    )
