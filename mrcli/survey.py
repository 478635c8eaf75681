"""One pass over a scan: small facts of each slice, so that memory stays one slice.

Levels are relative to `unit`, the power of two nearest below the peak of the slice: energies then
neither overflow nor vanish, at any scale of the scanner.
"""

import math
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import max_pool1d, pad

from mrcli.physics.encoding import ifft2c
from mrcli.physics.noise import estimate_noise_sigma
from mrcli.physics.sampling import Sampling, infer_mask
from mrcli.scan import MaskSource, Scan, ScanHeader, ScanMask
from mrcli.types import KSpace, SamplingMask

Place = tuple[int, ...]  # (frame, coil, y, x) or a part of it

_SPIKE_NEIGHBORS = 8  # on either side along the readout: the largest of 16 is no chance of noise
_SPIKE_RATIO = 5.0  # over the largest neighbour; a compact object has neighbours of similar size
_CENTER = 1 / 8  # of each axis on either side of the origin: echoes are steep there


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class SliceFacts:
    """What one slice says; `acquired` are its samples that are not exactly zero."""

    acquired: SamplingMask
    n_not_finite: int = 0
    first_not_finite: Place | None = None  # (frame, coil, y, x)
    peak: float = 0.0
    unit: float = 1.0
    energy: Float[Tensor, "y x"] | None = None  # in unit^2, over frames and coils
    coil_energy: Float[Tensor, " coil"] | None = None
    frame_energy: Float[Tensor, " frame"] | None = None
    noise_sigma: float = 0.0
    n_clipped: int = 0  # largest number of components at the peak, in one coil of one frame
    duplicates: frozenset[tuple[int, int]] = frozenset()  # pairs of frames
    n_spikes: int = 0
    first_spike: Place | None = None  # (frame, y, x)
    concentration: float = 0.0  # of k-space: energy share of the strongest hundredth
    image_concentration: float = 0.0  # the same after the transform to the image
    n_marked_but_zero: int = 0
    n_marked: int = 0
    n_dropped: int = 0  # samples that are not zero and that the mask leaves out


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Evidence:
    """All that the checks look at."""

    header: ScanHeader
    slices: tuple[SliceFacts, ...]
    mask: ScanMask
    mask_source: MaskSource
    sampling: Sampling

    @property
    def measured(self) -> tuple[SliceFacts, ...]:
        """Slices that hold finite signal."""
        return tuple(facts for facts in self.slices if facts.peak > 0)


def survey_slice(scan: Scan, index: int) -> SliceFacts:
    """Load one slice and measure it; a slice with NaN or infinity is only counted."""
    kspace = scan.slice_kspace(index)
    acquired = infer_mask(kspace)
    largest = float(torch.view_as_real(kspace).abs().amax())
    if not math.isfinite(largest):
        places = (~torch.isfinite(kspace)).nonzero()
        return SliceFacts(acquired, len(places), tuple(places[0].tolist()))
    if largest == 0:
        return _with_mask(SliceFacts(acquired), scan.slice_mask(index), kspace.shape[-1])
    unit = 2.0 ** math.floor(math.log2(largest))
    facts = _measure(kspace / unit, acquired, scan.slice_mask(index), unit)
    return _with_mask(facts, scan.slice_mask(index), kspace.shape[-1])


def _measure(
    kspace: KSpace, acquired: SamplingMask, stated: SamplingMask | None, unit: float
) -> SliceFacts:
    power = kspace.real.square() + kspace.imag.square()
    mask = stated if stated is not None else acquired
    n_spikes, first_spike = _find_spikes(power.sum(1).sqrt(), acquired)
    middle = kspace[len(kspace) // 2]
    return SliceFacts(
        acquired=acquired,
        peak=float(power.amax().sqrt()) * unit,
        unit=unit,
        energy=power.sum((0, 1), dtype=torch.float64),
        coil_energy=power.sum((0, 2, 3), dtype=torch.float64),
        frame_energy=power.sum((1, 2, 3), dtype=torch.float64),
        noise_sigma=estimate_noise_sigma(kspace, mask) * unit,
        n_clipped=_count_clipped(kspace),
        duplicates=_duplicate_frames(kspace),
        n_spikes=n_spikes,
        first_spike=first_spike,
        concentration=_concentration(middle),
        image_concentration=_concentration(ifft2c(middle)),
    )


def _with_mask(facts: SliceFacts, mask: SamplingMask | None, n_x: int) -> SliceFacts:
    if mask is None:
        return facts
    shape = (*map(max, mask.shape, facts.acquired.shape),)
    marked, acquired = mask.expand(shape), facts.acquired.expand(shape)
    per_entry = n_x // shape[-1]
    return replace(
        facts,
        n_marked=int(marked.sum()) * per_entry,
        n_marked_but_zero=int((marked & ~acquired).sum()) * per_entry,
        n_dropped=int((acquired & ~marked).sum()) * per_entry,
    )


def middle_slice(mask: ScanMask) -> SamplingMask:
    """Return the mask of the slice in the middle of the stack."""
    return mask[:, mask.shape[1] // 2]


def present(energy: Tensor | None) -> Tensor:
    """Return an energy that a measured slice has."""
    return energy if energy is not None else torch.zeros(1, dtype=torch.float64)


def _count_clipped(kspace: KSpace) -> int:
    components = torch.view_as_real(kspace).abs()
    return int((components == components.amax()).sum((-3, -2, -1)).amax())


def _duplicate_frames(kspace: KSpace) -> frozenset[tuple[int, int]]:
    sums = kspace.sum((1, 2, 3)).tolist()  # equal frames have equal sums: few are compared
    return frozenset(
        (a, b)
        for a, b in combinations(range(len(kspace)), 2)
        if sums[a] == sums[b] != 0 and torch.equal(kspace[a], kspace[b])
    )


def _find_spikes(
    magnitude: Float[Tensor, "frame y x"], acquired: SamplingMask
) -> tuple[int, Place | None]:
    """Find single samples far above all their neighbours along the readout, off the center.

    Whole lines only: the neighbours of a sample on a spoke belong to other spokes.
    """
    n_y, n_x = magnitude.shape[-2:]
    if acquired.shape[-1] != 1 or n_x <= 2 * _SPIKE_NEIGHBORS:
        return 0, None
    before = pad(magnitude, (_SPIKE_NEIGHBORS, -1))
    after = pad(magnitude, (-1, _SPIKE_NEIGHBORS))
    around = torch.maximum(
        max_pool1d(before, _SPIKE_NEIGHBORS, 1), max_pool1d(after, _SPIKE_NEIGHBORS, 1)
    )
    spikes = (magnitude > _SPIKE_RATIO * around) & (around > 0)
    y, x = round(n_y * _CENTER), round(n_x * _CENTER)
    spikes[:, n_y // 2 - y : n_y // 2 + y + 1, n_x // 2 - x : n_x // 2 + x + 1] = False
    places = spikes.nonzero()
    return len(places), tuple(places[0].tolist()) if len(places) else None


def _concentration(samples: KSpace) -> float:
    energy = samples.abs().square().sum(0).flatten()
    strongest = energy.topk(max(1, len(energy) // 100)).values
    return float(strongest.sum() / energy.sum())
