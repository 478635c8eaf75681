"""The line from a scan to its image: calibrate, estimate maps, encode, solve, check.

    slice --Calibration.apply--> whitened slice --encode--> encoded slice --method--> image

One slice is in memory at a time; `docs/conventions.md` has scale and units.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float32
from torch import Tensor

from mrcli.errors import DataError, NotFinite
from mrcli.findings import Finding, Severity
from mrcli.methods import EncodedSlice, Method, zero_filled
from mrcli.metrics.consistency import consistency_residual
from mrcli.physics.calibration import block_of
from mrcli.physics.encoding import Y_ONLY, CartesianEncoding, decouple_readout_, ifft2c
from mrcli.physics.noise import (
    apply_to_coils,
    equalizing_matrix,
    estimate_noise_sigma,
    noise_covariance,
    whitening_matrix,
)
from mrcli.physics.sampling import Acs, find_acs, union_over_frames
from mrcli.physics.sense import adjoint_image
from mrcli.physics.sensitivity import estimate_maps
from mrcli.scan import Scan, ScanMask
from mrcli.types import CoilMatrix, Image, KSpace, SamplingMask, SensitivityMaps

CalibrationBlock = Complex[Tensor, "coil acs_y acs_x"]
Check = Callable[[int, EncodedSlice, float], tuple[Finding, ...]]  # slice, its data, its residual

_SAMPLES_PER_COIL = 10  # of noise: a covariance from fewer is far from the true one


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Calibration:
    """What a scan needs before any arithmetic: whitening, if it has a noise scan, and sigma."""

    whitening: CoilMatrix | None
    noise_sigma: float  # of the data after whitening, in the units of the scan
    findings: tuple[Finding, ...] = ()

    def apply_(self, kspace: KSpace, mask: SamplingMask, scale: float) -> KSpace:
        """Replace `kspace` by ``W M y / scale``, in place: slices are large."""
        for frame, samples in enumerate(kspace):
            acquired = (samples / scale) * mask[frame if len(mask) > 1 else 0]
            samples.copy_(self._whiten(acquired))
        return kspace

    def restore(self, image: Image, maps: SensitivityMaps) -> Image:
        """Undo the shading of the image that whitening brought.

        Maps of whitened coils have unit RSS; the coils themselves, ``W^-1 S``, decide how bright
        the image is, with a noise scan as without.
        """
        if self.whitening is None:
            return image
        coils = apply_to_coils(torch.linalg.inv(self.whitening).to(maps), maps)
        return image * coils.abs().square().sum(-3).sqrt()

    def _whiten(self, kspace: KSpace) -> KSpace:
        if self.whitening is None:
            return kspace
        return apply_to_coils(self.whitening.to(kspace), kspace)


@dataclass(frozen=True, eq=False)
class ReconSlice:
    """The image of one slice in the units of its k-space, and how well it explains the data."""

    index: int
    image: Image  # (frame, y, x)
    consistency_residual: float | None  # None: nothing to predict, no signal or no maps
    findings: tuple[Finding, ...] = ()


def calibrate(scan: Scan, noise_sigma: float) -> Calibration:
    """Return the whitening of the scan; without a noise scan `noise_sigma` is taken as it is.

    Whitening keeps the mean noise power of the coils, so that images keep the scale of the data. A
    noise scan that is too short, or in which coils are silent or copies, gives every coil the same
    noise but cannot undo what they share: that is a finding. Raises `NotFinite` for a damaged one.
    """
    if scan.noise is None:
        return Calibration(None, noise_sigma)
    noise = scan.noise.to(torch.complex128)
    if not bool(torch.view_as_real(noise).isfinite().all()):
        raise NotFinite("the noise scan holds NaN or infinity", hint="leave the noise scan out")
    covariance = noise_covariance(noise)
    power = covariance.diagonal().real
    if not bool(power.any()):
        return Calibration(None, noise_sigma, (_unused_noise("holds only zeros"),))
    level = math.sqrt(float(power[power > 0].mean()))
    is_long = noise.shape[1] >= _SAMPLES_PER_COIL * len(noise)
    whitening = whitening_matrix(covariance) if is_long else None
    if whitening is not None:
        return Calibration(level * whitening, level)
    reason = "has coils that are silent or copies" if is_long else f"has {noise.shape[1]} samples"
    return Calibration(level * equalizing_matrix(covariance), level, (_equalized(reason),))


def _equalized(reason: str) -> Finding:
    return Finding(
        "noise-scan-not-whitening",
        Severity.WARNING,
        f"the noise scan {reason}: coils were scaled to equal noise, not decorrelated",
        f"measure at least {_SAMPLES_PER_COIL} noise samples per coil, with every coil connected",
    )


def _unused_noise(reason: str) -> Finding:
    return Finding(
        "noise-scan-unused",
        Severity.WARNING,
        f"the noise scan {reason}: noise was estimated from the data",
        "measure the noise scan again",
    )


def accept_all(index: int, data: EncodedSlice, residual: float) -> tuple[Finding, ...]:
    """Find nothing wrong with any image."""
    del index, data, residual
    return ()


def reconstruct(
    scan: Scan,
    mask: ScanMask,
    calibration: Calibration,
    method: Method,
    *,
    device: str = "cpu",
    check: Check = accept_all,
) -> Iterator[ReconSlice]:
    """Yield the slices of the scan in turn; `mask` is what was acquired.

    What `check` finds is among the findings of the slice. Raises `DataError` where the method
    cannot work on the data, `NotFinite` where it fails.
    """
    for index in range(scan.header.n_slices):
        slice_mask = mask[:, index if mask.shape[1] > 1 else 0].to(device)
        yield _reconstruct_slice(scan, index, slice_mask, calibration, (method, check))


def reference_image(scan: Scan) -> Float32[np.ndarray, "frame slice y x"]:
    """Return the magnitude of the coil-combined image of fully sampled k-space.

    Combined with maps from the same data it has no noise floor, unlike the root sum of squares.
    Reads the fully sampled k-space that the container holds beside the scan, else the scan's own.
    """
    load = scan.load_reference_slice or scan.slice_kspace
    calibration = calibrate(scan, 0.0)
    slices = [_combined(load(index), calibration) for index in range(scan.header.n_slices)]
    return torch.stack(slices, dim=1).abs().numpy()


def _combined(kspace: KSpace, calibration: Calibration) -> Image:
    everywhere = torch.ones(1, 1, kspace.shape[-2], 1, dtype=torch.bool)
    one = calibrated_slice(kspace, everywhere, calibration)
    data = encode_slice(one.kspace, everywhere, one.noise_sigma)
    image = adjoint_image(data.encoding, data.kspace)
    return calibration.restore(image, data.encoding.maps) * one.scale


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class CalibratedSlice:
    """The whitened samples of one slice, divided by `scale`, and their noise."""

    kspace: KSpace
    mask: SamplingMask
    scale: float
    noise_sigma: float  # in the units of `kspace`; 0 where there are no samples


def calibrated_slice(
    kspace: KSpace, mask: SamplingMask, calibration: Calibration
) -> CalibratedSlice:
    """Whiten a slice in place; its noise is that of the noise scan, else estimated."""
    scale = _power_of_two_below(kspace)
    kspace = calibration.apply_(kspace, mask, scale)
    if not bool(kspace.any()):
        return CalibratedSlice(kspace, mask, scale, 0.0)
    sigma = calibration.noise_sigma / scale or estimate_noise_sigma(kspace, mask)
    return CalibratedSlice(kspace, mask, scale, sigma)


def _reconstruct_slice(
    scan: Scan,
    index: int,
    mask: SamplingMask,
    calibration: Calibration,
    how: tuple[Method, Check],
) -> ReconSlice:
    method, check = how
    one = calibrated_slice(scan.slice_kspace(index).to(mask.device), mask, calibration)
    kspace, scale = one.kspace, one.scale
    if not bool(kspace.any()):
        return ReconSlice(index, torch.zeros_like(kspace[:, 0]), None)
    try:
        data = encode_slice(kspace, mask, one.noise_sigma)
    except DataError as error:
        if method is not zero_filled:
            raise DataError(f"slice {index}: {error.message}", hint=error.hint) from error
        return _combine_without_maps(index, kspace, scale, error.message)
    image = _require_finite(method(data), index)
    residual = consistency_residual(image, data.encoding, data.kspace)
    findings = check(index, data, residual)
    image = calibration.restore(image, data.encoding.maps) * scale
    return ReconSlice(index, image, residual, findings)


def encode_slice(kspace: KSpace, mask: SamplingMask, noise_sigma: float) -> EncodedSlice:
    """Calibrate the coils, then transform `kspace` in place to the domain of the encoding.

    Raises `DataError` where there are several coils and too few samples to calibrate them.
    """
    y, x = _calibration_extent(mask, kspace)
    in_block = mask[..., y, :] if mask.shape[-1] == 1 else mask[..., y, x]
    block = _averaged(kspace[..., y, x], in_block)
    matrix = (kspace.shape[-2], kspace.shape[-1])
    maps = estimate_maps(block, matrix, noise_sigma=noise_sigma / math.sqrt(len(kspace)))
    data, lines, axes = decouple_readout_(kspace, mask)
    calibrated = torch.zeros_like(lines[:1])
    calibrated[..., y, slice(None) if axes == Y_ONLY else x] = True
    calibrated &= lines.all(0)  # frames may fill the block together, and each still misses some
    encoding = CartesianEncoding(maps.unsqueeze(0), lines, axes)
    return EncodedSlice(encoding, data, calibrated, noise_sigma)


def _calibration_extent(mask: SamplingMask, kspace: KSpace) -> tuple[slice, slice]:
    """Return the part of the ACS, of every frame or else of all together, nearest the origin."""
    n_coils, n_y, n_x = kspace.shape[1:]
    acs = find_acs(mask) or find_acs(union_over_frames(mask))
    if acs is None and n_coils > 1:
        raise DataError(
            f"no fully sampled lines around the origin of k-space to calibrate {n_coils} coils",
            hint="reconstruct zero-filled, or acquire at least 4 ACS lines",
        )
    return block_of(acs or Acs((0, n_y), None), (n_y, n_x))


def _averaged(block: KSpace, mask: SamplingMask) -> CalibrationBlock:
    """Average the acquired samples over frames."""
    n_averages = mask.expand(len(block), -1, -1, -1).sum(0).clamp(min=1)
    return block.sum(0) / n_averages


def _combine_without_maps(index: int, kspace: KSpace, scale: float, reason: str) -> ReconSlice:
    finding = Finding(
        "combined-without-maps",
        Severity.WARNING,
        f"slice {index}: the coils were combined by root sum of squares: {reason}",
        "acquire at least 4 ACS lines",
    )
    frames = [ifft2c(frame).abs().square().sum(0).sqrt() for frame in kspace]
    return ReconSlice(index, torch.stack(frames).to(kspace.dtype) * scale, None, (finding,))


def _power_of_two_below(kspace: KSpace) -> float:
    """Return the power of two nearest below the peak, 1 for zeros: dividing by it is exact."""
    peak = max(float(torch.view_as_real(frame).abs().amax()) for frame in kspace)
    if not math.isfinite(peak):
        raise NotFinite("k-space holds NaN or infinity", hint="inspect the scan for the place")
    return 2.0 ** math.floor(math.log2(peak)) if peak > 0 else 1.0


def _require_finite(image: Image, index: int) -> Image:
    if not bool(torch.view_as_real(image).isfinite().all()):
        raise NotFinite(f"slice {index}: the reconstruction did not stay finite")
    return image
