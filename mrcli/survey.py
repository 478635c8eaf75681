"""One pass over a scan: small facts of each slice, so that memory stays one slice.

Levels are relative to `unit`, the power of two nearest below the peak of the slice: energies then
neither overflow nor vanish, at any scale of the scanner.
"""

import math
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from jaxtyping import Bool, Complex, Float
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
    acquired, largest = infer_mask(kspace), _largest_component(kspace)
    if not math.isfinite(largest):
        places = (~torch.isfinite(kspace)).nonzero()
        return SliceFacts(acquired, len(places), tuple(places[0].tolist()))
    stated, n_x = scan.slice_mask(index), kspace.shape[-1]
    if largest == 0:
        return _with_mask(SliceFacts(acquired), stated, n_x)
    return _with_mask(_measure(kspace, acquired, stated, largest), stated, n_x)


def _largest_component(kspace: KSpace) -> float:
    largest = [float(torch.view_as_real(frame).abs().amax()) for frame in kspace]
    return max(largest) if all(map(math.isfinite, largest)) else math.inf


def _measure(
    kspace: KSpace,
    acquired: SamplingMask,
    stated: Bool[Tensor, "stated_frame 1 y stated_x"] | None,
    largest: float,
) -> SliceFacts:
    unit = 2.0 ** math.floor(math.log2(largest))
    frames = [_measure_frame(frame / unit, largest / unit) for frame in kspace]
    magnitude = torch.stack([frame.energy.sqrt().float() for frame in frames])
    n_spikes, first_spike = _find_spikes(magnitude, acquired)
    mask = stated if stated is not None else acquired
    middle = _frame_with_samples(mask, acquired)
    only_middle = mask[middle : middle + 1] if len(mask) > 1 else mask
    samples = kspace[middle : middle + 1] / unit
    return SliceFacts(
        acquired=acquired,
        peak=max(frame.peak for frame in frames) * unit,
        unit=unit,
        energy=torch.stack([frame.energy for frame in frames]).sum(0),
        coil_energy=torch.stack([frame.coil_energy for frame in frames]).sum(0),
        frame_energy=torch.stack([frame.energy.sum() for frame in frames]),
        noise_sigma=estimate_noise_sigma(samples, only_middle) * unit,
        n_clipped=max(frame.n_clipped for frame in frames),
        duplicates=_duplicate_frames(kspace),
        n_spikes=n_spikes,
        first_spike=first_spike,
        concentration=_concentration(samples[0]),
        image_concentration=_concentration(ifft2c(samples[0])),
    )


def _frame_with_samples(
    mask: Bool[Tensor, "stated_frame 1 y stated_x"], acquired: SamplingMask
) -> int:
    """Return the frame nearest the middle that the mask leaves samples of; else any acquired."""
    measured = (mask & acquired).flatten(1).any(1)
    sampled = measured if bool(measured.any()) else acquired.flatten(1).any(1)
    return _nearest_middle(sampled)


def _nearest_middle(wanted: Bool[Tensor, " n"]) -> int:
    index = wanted.nonzero().flatten()
    return int(index[(index - len(wanted) // 2).abs().argmin()])


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class _FrameFacts:
    """What one frame adds: one at a time, so that no copy of the whole slice is made."""

    energy: Float[Tensor, "y x"]
    coil_energy: Float[Tensor, " coil"]
    peak: float
    n_clipped: int


def _measure_frame(samples: Complex[Tensor, "coil y x"], largest: float) -> _FrameFacts:
    powers, n_clipped = [], 0
    energy = torch.zeros(samples.shape[1:], dtype=torch.float64)
    peak = 0.0
    for coil in samples:
        components = torch.view_as_real(coil)
        power = components.square().sum(-1)
        energy += power
        powers.append(power.sum(dtype=torch.float64))
        peak = max(peak, float(power.amax().sqrt()))
        n_clipped = max(n_clipped, int((components.abs() == largest).sum()))
    return _FrameFacts(energy, torch.stack(powers), peak, n_clipped)


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
    """Return the mask of the slice nearest the middle of the stack that has samples."""
    sampled = mask.transpose(0, 1).flatten(1).any(1)
    return mask[:, _nearest_middle(sampled) if bool(sampled.any()) else 0]


def present(energy: Tensor | None) -> Tensor:
    """Return an energy that a measured slice has."""
    return energy if energy is not None else torch.zeros(1, dtype=torch.float64)


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
