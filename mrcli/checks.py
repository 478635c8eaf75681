"""What may be wrong with a scan: a list of small checks over the facts of its slices.

A check takes an `Evidence` and yields findings; `CHECKS` is all of them. Thresholds are relative
to the scan itself and stand here with their reasons.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import torch

from mrcli.axes import check_axes, is_origin_off_center
from mrcli.findings import Finding, Severity
from mrcli.physics.sampling import (
    Pattern,
    Sampling,
    describe_sampling,
    find_acs,
    infer_mask,
    union_over_frames,
)
from mrcli.scan import MaskSource, Scan, ScanMask
from mrcli.survey import Evidence, SliceFacts, middle_slice, present, survey_slice
from mrcli.types import SamplingMask

Check = Callable[[Evidence], Iterator[Finding]]
OnSlice = Callable[[int, int], None]  # slices done, slices of the scan

_DEAD_COIL = 1e-6  # of the median energy: 60 dB; the last of ten compressed coils keeps 40 dB
_USUAL_PEAKS = (1e-4, 1e10)  # known vendors store peaks of 1.7e-3 to 1.8e8; a decade more each way
_CLIPPED = 8  # equal largest components in one coil; symmetric objects have up to four
_MARKED_BUT_ZERO = 1e-3  # of the marked samples: integers are zero in all coils by chance, rarely
_LOW_SNR = 1.0  # signal energy over noise energy in the acquired samples


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Examination:
    """What one pass over a scan found; `noise_sigma` is the median over slices."""

    mask: ScanMask
    mask_source: MaskSource
    sampling: Sampling
    noise_sigma: float
    peak: float
    findings: tuple[Finding, ...]


def examine(scan: Scan, on_slice: OnSlice | None = None) -> Examination:
    """Read every slice of the scan once and run all checks; findings of the reader come first."""
    slices = tuple(_survey(scan, on_slice))
    mask, source = _mask_of(scan, slices)
    sampling = describe_sampling(middle_slice(mask), scan.header.matrix[1])
    evidence = Evidence(scan.header, slices, mask, source, sampling)
    found = tuple(finding for check in CHECKS for finding in check(evidence))
    sigmas = [facts.noise_sigma for facts in evidence.measured if facts.noise_sigma > 0]
    sigma = median(sigmas) if sigmas else 0.0
    peak = max(facts.peak for facts in slices)
    return Examination(mask, source, sampling, sigma, peak, scan.findings + found)


def _survey(scan: Scan, on_slice: OnSlice | None) -> Iterator[SliceFacts]:
    n_slices = scan.header.n_slices
    for index in range(n_slices):
        yield survey_slice(scan, index)
        if on_slice is not None:
            on_slice(index + 1, n_slices)


def resolve_mask(scan: Scan) -> tuple[ScanMask, MaskSource, tuple[Finding, ...]]:
    """Return the mask of the scan, or infer it from exact zeros, and say so in a finding."""
    if scan.mask is not None:
        return scan.mask, scan.mask_source or MaskSource.FILE, ()
    masks = [infer_mask(scan.slice_kspace(index)) for index in range(scan.header.n_slices)]
    mask = join_slices(masks)
    return mask, MaskSource.ZEROS, (_inferred(mask),)


def _mask_of(scan: Scan, slices: tuple[SliceFacts, ...]) -> tuple[ScanMask, MaskSource]:
    if scan.mask is not None:
        return scan.mask, scan.mask_source or MaskSource.FILE
    return join_slices([facts.acquired for facts in slices]), MaskSource.ZEROS


def join_slices(masks: list[SamplingMask]) -> ScanMask:
    """Join the masks of slices; those that agree, but for slices without any signal, are shared."""
    sampled = [mask for mask in masks if bool(mask.any())]
    if sampled and all(torch.equal(mask, sampled[0]) for mask in sampled):
        return sampled[0][:, None]
    n_x = max(mask.shape[-1] for mask in masks)
    return torch.stack([mask.expand(*mask.shape[:-1], n_x) for mask in masks], 1)


def _not_finite(evidence: Evidence) -> Iterator[Finding]:
    bad = [(i, facts) for i, facts in enumerate(evidence.slices) if facts.n_not_finite]
    if bad:
        index, facts = bad[0]
        frame, coil, y, x = facts.first_not_finite or (0, 0, 0, 0)
        n_bad = sum(facts.n_not_finite for _, facts in bad)
        yield Finding(
            "not-finite",
            Severity.ERROR,
            f"{n_bad} {'sample is' if n_bad == 1 else 'samples are'} NaN or infinite, "
            f"the first at frame {frame}, slice {index}, coil {coil}, y {y}, x {x}",
            "export the scan again; a sample that is not a number spoils the whole image",
        )


def _zeros(evidence: Evidence) -> Iterator[Finding]:
    if not evidence.measured:
        if not any(facts.n_not_finite for facts in evidence.slices):
            remedy = "export the scan again, or name the variable that holds k-space"
            yield Finding("all-zero", Severity.ERROR, "the scan holds only zeros", remedy)
        return
    empty = [i for i, facts in enumerate(evidence.slices) if not facts.peak + facts.n_not_finite]
    if empty:
        yield _warning("zero-slice", f"{_which('slice', empty)} only zeros", "export it again")
    yield from _zero_frames(evidence)


def _zero_frames(evidence: Evidence) -> Iterator[Finding]:
    measured = [(i, facts) for i, facts in enumerate(evidence.slices) if facts.peak > 0]
    silent = torch.stack([present(facts.frame_energy) == 0 for _, facts in measured])
    remedy = "export it again, or leave the frame out: a shared model needs data in each"
    everywhere = silent.all(0)
    if bool(everywhere.any()):
        frames = everywhere.nonzero().flatten().tolist()
        yield _warning("zero-frame", f"{_which('frame', frames)} only zeros", remedy)
    places = (silent & ~everywhere).nonzero().tolist()
    if places:
        row, frame = places[0]
        more = f", as do {len(places) - 1} more of single slices" if len(places) > 1 else ""
        message = f"frame {frame} of slice {measured[row][0]} holds only zeros{more}"
        yield _warning("zero-frame", message, remedy)


def _dead_coil(evidence: Evidence) -> Iterator[Finding]:
    energy = sum(facts.unit**2 * present(facts.coil_energy) for facts in evidence.measured)
    if not evidence.measured or evidence.header.n_coils < 2:
        return
    energies = torch.as_tensor(energy)
    dead = (energies < _DEAD_COIL * energies.median()).nonzero().flatten().tolist()
    if dead:
        remedy = "check the coil's plug; the other coils are used as they are"
        yield _warning("dead-coil", f"{_which('coil', dead)} next to no signal", remedy)


def _scale(evidence: Evidence) -> Iterator[Finding]:
    peak = max(facts.peak for facts in evidence.slices)
    if peak > 0 and not _USUAL_PEAKS[0] <= peak <= _USUAL_PEAKS[1]:
        message = f"the peak {peak:.3g} is outside what known scanners store"
        yield _info("scale", message, "none needed: data are scaled before any arithmetic")


def _clipped(evidence: Evidence) -> Iterator[Finding]:
    n_clipped = max((facts.n_clipped for facts in evidence.measured), default=0)
    if n_clipped >= _CLIPPED:
        message = f"{n_clipped} samples of one coil share the largest value"
        yield _warning("clipped", message, "lower the receiver gain and scan again")


def _duplicate_frames(evidence: Evidence) -> Iterator[Finding]:
    pairs = [facts.duplicates for facts in evidence.measured]
    shared = sorted(frozenset.intersection(*pairs)) if pairs else []
    if shared:
        first, second = shared[0]
        message = f"{len(shared)} pairs of frames are identical, first {first} and {second}"
        yield _warning("duplicate-frames", message, "export the scan again without copies")


def _spike(evidence: Evidence) -> Iterator[Finding]:
    hit = [(i, facts) for i, facts in enumerate(evidence.slices) if facts.n_spikes]
    if hit and not is_origin_off_center(evidence):  # then the origin itself looks like one
        index, facts = hit[0]
        frame, y, x = facts.first_spike or (0, 0, 0)
        n_spikes = sum(facts.n_spikes for _, facts in hit)
        message = f"{n_spikes} samples stand far above their neighbours, first frame {frame}"
        where = f"{message}, slice {index}, y {y}, x {x}"
        yield _warning("spike", where, "look for sparks and loose contacts; images show stripes")


def _low_snr(evidence: Evidence) -> Iterator[Finding]:
    ratios = [_signal_to_noise(facts, evidence.header.n_coils) for facts in evidence.measured]
    if ratios and median(ratios) < _LOW_SNR:
        message = f"noise carries more energy than signal (ratio {median(ratios):.2g})"
        yield _warning("low-snr", message, "average more, or expect a noisy image")


def _signal_to_noise(facts: SliceFacts, n_coils: int) -> float:
    energy = float(present(facts.frame_energy).sum())
    n_x = present(facts.energy).shape[-1] if facts.acquired.shape[-1] == 1 else 1
    noise = (facts.noise_sigma / facts.unit) ** 2 * int(facts.acquired.sum()) * n_x * n_coils
    return energy / noise - 1 if noise > 0 else math.inf


def _mask_inferred(evidence: Evidence) -> Iterator[Finding]:
    if evidence.mask_source is MaskSource.ZEROS:
        yield _inferred(evidence.mask)


def _inferred(mask: ScanMask) -> Finding:
    message = (
        "no mask is stated and no sample is missing: taken as fully sampled"
        if bool(mask.all())
        else "no mask is stated: samples that are exactly zero count as not acquired"
    )
    return _info("mask-inferred", message, "name the mask if that is wrong (--mask)")


def _mask_disagrees(evidence: Evidence) -> Iterator[Finding]:
    zero, marked = (
        sum(facts.n_marked_but_zero for facts in evidence.measured),
        sum(facts.n_marked for facts in evidence.measured),
    )
    dropped = sum(facts.n_dropped for facts in evidence.slices)
    if zero > _MARKED_BUT_ZERO * marked:
        yield _warning(
            "mask-disagrees",
            f"the mask marks {zero} of {marked} samples as acquired that are exactly zero",
            "name the mask that belongs to this scan: zeros would be taken for measured signal",
        )
    if dropped:
        message = f"the mask leaves out {dropped} samples that hold signal"
        yield _info("mask-disagrees", message, "none needed if undersampling is meant")


def _sampling(evidence: Evidence) -> Iterator[Finding]:
    sampling = evidence.sampling
    if sampling.pattern is Pattern.UNIFORM and evidence.header.n_frames > 1:
        message = (
            "one equispaced mask serves all frames: it cannot support adapting without references"
        )
        yield _warning("fixed-equispaced-mask", message, "shift the first line between frames")
    if sampling.acs is None and evidence.measured:
        yield _without_acs(middle_slice(evidence.mask))
    if sampling.is_partial_fourier:
        message = "one side of k-space is missing (partial Fourier or asymmetric echo)"
        yield _info("partial-fourier", message, "expect lower resolution in that direction")


def _without_acs(mask: SamplingMask) -> Finding:
    acs = find_acs(union_over_frames(mask))
    if acs is None:
        message = "no block around the origin is fully sampled: coil maps cannot be calibrated"
        return _warning("no-acs", message, "acquire 20 or more central lines")
    message = (
        f"no frame has the whole ACS: coil maps are calibrated from lines {acs.y[0]} to "
        f"{acs.y[1] - 1} of all frames together"
    )
    return _info("acs-over-frames", message, "none needed if the object moves little")


def _which(what: str, indices: list[int]) -> str:
    """Say ``coil 3 holds`` or ``coils 3, 5 and 4 more hold``."""
    if len(indices) == 1:
        return f"{what} {indices[0]} holds"
    more = f" and {len(indices) - 3} more" if len(indices) > 3 else ""
    return f"{what}s {', '.join(str(i) for i in indices[:3])}{more} hold"


def _warning(code: str, message: str, remedy: str) -> Finding:
    return Finding(code, Severity.WARNING, message, remedy)


def _info(code: str, message: str, remedy: str) -> Finding:
    return Finding(code, Severity.INFO, message, remedy)


CHECKS: tuple[Check, ...] = (
    _not_finite,
    _zeros,
    _dead_coil,
    check_axes,
    _clipped,
    _spike,
    _duplicate_frames,
    _mask_disagrees,
    _sampling,
    _low_snr,
    _mask_inferred,
    _scale,
)
