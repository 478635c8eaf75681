"""The line from a scan to its image: calibrate, estimate maps, encode, solve, check.

    slice --Calibration.apply--> whitened slice --encode--> encoded slice --method--> image

One slice is in memory at a time; `docs/conventions.md` has scale and units.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float32
from torch import Tensor

from mrcli.errors import DataError, NotFinite
from mrcli.findings import Finding, Severity
from mrcli.methods import METHODS, EncodedSlice
from mrcli.metrics.consistency import consistency_residual
from mrcli.physics.encoding import CartesianEncoding, decouple_readout_, ifft2c
from mrcli.physics.noise import (
    apply_to_coils,
    estimate_noise_sigma,
    noise_covariance,
    whitening_matrix,
)
from mrcli.physics.sampling import Acs, find_acs, union_over_frames
from mrcli.physics.sense import adjoint_image
from mrcli.physics.sensitivity import estimate_maps
from mrcli.scan import Scan, ScanMask
from mrcli.types import CoilMatrix, Image, KSpace, SamplingMask

CalibrationBlock = Complex[Tensor, "coil acs_y acs_x"]


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Calibration:
    """What a scan needs before any arithmetic: whitening, if it has a noise scan, and sigma."""

    whitening: CoilMatrix | None
    noise_sigma: float  # of the data after whitening, in the units of the scan

    def apply_(self, kspace: KSpace, mask: SamplingMask, scale: float) -> KSpace:
        """Replace `kspace` by ``W M y / scale``, in place: slices are large."""
        for frame, samples in enumerate(kspace):
            acquired = (samples / scale) * mask[frame if len(mask) > 1 else 0]
            samples.copy_(self._whiten(acquired))
        return kspace

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

    Whitening keeps the mean noise power of the coils, so that images keep the scale of the data.
    """
    if scan.noise is None:
        return Calibration(None, noise_sigma)
    covariance = noise_covariance(scan.noise.to(torch.complex128))
    level = math.sqrt(float(covariance.diagonal().real.mean()))
    return Calibration(level * whitening_matrix(covariance), level)


def reconstruct(
    scan: Scan, mask: ScanMask, noise_sigma: float, method: str, *, device: str = "cpu"
) -> Iterator[ReconSlice]:
    """Yield the slices of the scan in turn.

    `mask` is what was acquired, `noise_sigma` its noise level where the scan has no noise scan.
    Raises `DataError` where the method cannot work on the data, `NotFinite` where it fails.
    """
    calibration = calibrate(scan, noise_sigma)
    for index in range(scan.header.n_slices):
        slice_mask = mask[:, index if mask.shape[1] > 1 else 0].to(device)
        yield _reconstruct_slice(scan, index, slice_mask, calibration, method)


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
    scale = _power_of_two_below(kspace)
    everywhere = torch.ones(1, 1, kspace.shape[-2], 1, dtype=torch.bool)
    kspace = calibration.apply_(kspace, everywhere, scale)
    sigma = calibration.noise_sigma / scale or estimate_noise_sigma(kspace, everywhere)
    data = _encode(kspace, everywhere, sigma)
    return adjoint_image(data.encoding, data.kspace) * scale


def _reconstruct_slice(
    scan: Scan, index: int, mask: SamplingMask, calibration: Calibration, method: str
) -> ReconSlice:
    kspace = scan.slice_kspace(index).to(mask.device)
    scale = _power_of_two_below(kspace)
    kspace = calibration.apply_(kspace, mask, scale)
    if not bool(kspace.any()):
        return ReconSlice(index, torch.zeros_like(kspace[:, 0]), None)
    if kspace.shape[1] > 1 and _acs_of(mask) is None:
        return _combine_without_maps(index, kspace, scale, method)
    data = _encode(kspace, mask, calibration.noise_sigma / scale)
    image = _require_finite(METHODS[method](data), index)
    residual = consistency_residual(image, data.encoding, data.kspace)
    return ReconSlice(index, image * scale, residual)


def _encode(kspace: KSpace, mask: SamplingMask, noise_sigma: float) -> EncodedSlice:
    acs = _acs_of(mask) or Acs((0, kspace.shape[-2]), None)  # one coil needs no calibration
    block = _calibration_block(kspace, mask, acs)
    matrix = (kspace.shape[-2], kspace.shape[-1])
    maps = estimate_maps(block, matrix, noise_sigma=noise_sigma / math.sqrt(len(kspace)))
    data, mask, axes = decouple_readout_(kspace, mask)
    encoding = CartesianEncoding(maps.unsqueeze(0), mask, axes)
    return EncodedSlice(encoding, data, _as_mask(acs, mask), noise_sigma)


def _acs_of(mask: SamplingMask) -> Acs | None:
    """Return the ACS that every frame has, else the one that the frames fill together."""
    return find_acs(mask) or find_acs(union_over_frames(mask))


def _calibration_block(kspace: KSpace, mask: SamplingMask, acs: Acs) -> CalibrationBlock:
    """Average the acquired samples of the ACS over frames; the origin stays at ``n // 2``."""
    y = _around_origin(acs.y, kspace.shape[-2])
    x = _around_origin(acs.x or (0, kspace.shape[-1]), kspace.shape[-1])
    taken = mask[..., y, :] if mask.shape[-1] == 1 else mask[..., y, x]
    n_averages = taken.expand(len(kspace), -1, -1, -1).sum(0).clamp(min=1)
    return kspace[..., y, x].sum(0) / n_averages


def _around_origin(extent: tuple[int, int], n: int) -> slice:
    """Return the largest part of `extent` in which the origin is at half its length."""
    before, after = n // 2 - extent[0], extent[1] - n // 2
    half = min(before, after)
    return slice(n // 2 - half, n // 2 + half + (after > half))


def _as_mask(acs: Acs, like: SamplingMask) -> Bool[Tensor, "1 1 y readout"]:
    mask = torch.zeros_like(like[:1])
    x = slice(None) if acs.x is None or like.shape[-1] == 1 else slice(*acs.x)
    mask[..., slice(*acs.y), x] = True
    return mask


def _combine_without_maps(index: int, kspace: KSpace, scale: float, method: str) -> ReconSlice:
    if method != "zero-filled":
        raise DataError(
            f"slice {index}: no fully sampled lines around the origin of k-space, from which "
            f"{method} could calibrate the coils",
            hint="reconstruct zero-filled, or acquire at least 4 ACS lines",
        )
    finding = Finding(
        "combined-without-maps",
        Severity.WARNING,
        f"slice {index}: without ACS the coils were combined by root sum of squares",
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
