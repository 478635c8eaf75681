"""From the samples of a slice to its trials."""

from collections.abc import Iterator

import torch
from torch import Generator

from mrcli.adapt.sampling import Sampled, split_samples
from mrcli.adapt.trials import Trial, Withheld
from mrcli.errors import DataError, ShapeError
from mrcli.nn.inputs import compress_coils, prepare
from mrcli.physics.encoding import YX, CartesianEncoding, is_constant_along_readout
from mrcli.physics.noise import estimate_noise_sigma
from mrcli.physics.sense import adjoint_image
from mrcli.pipeline import CalibratedSlice, encode_slice
from mrcli.types import Image, KSpace, SamplingMask, SensitivityMaps


def supervised_trial(
    full: CalibratedSlice, sampled: Sampled, modality: str | None, *, is_noise_measured: bool
) -> Trial:
    """Return the trial of a fully sampled slice under a mask.

    The target is the full sampling combined with the maps that the network has: where they are
    right it is the truth and noise. Without a noise scan the noise is estimated from what the mask
    leaves, as it will be in use. Raises `DataError` or `ShapeError` where the mask does not fit.
    """
    kspace = full.kspace * sampled.mask
    sigma = full.noise_sigma if is_noise_measured else estimate_noise_sigma(kspace, sampled.mask)
    data = encode_slice(kspace, sampled.mask, sigma)
    given = prepare(data.encoding, data.kspace, data.calibrated, sigma)
    target = combined_image(full.kspace, data.encoding.maps)
    return Trial(given, modality, sampled.name, target=target / given.scale)


def combined_image(kspace: KSpace, maps: SensitivityMaps) -> Image:
    """Return ``sum_c conj(S_c) F^H y_c`` of full sampling: no root of squares, no noise floor."""
    everywhere = torch.ones(1, 1, kspace.shape[-2], 1, dtype=torch.bool, device=kspace.device)
    return adjoint_image(CartesianEncoding(maps, everywhere, YX), kspace)


def withheld_trials(
    acquired: CalibratedSlice, modality: str | None, name: str, random: Generator, n_splits: int
) -> Iterator[Trial]:
    """Yield trials of a slice as it was acquired, each with other samples withheld.

    Raises `DataError` where the coils cannot be calibrated.
    """
    matrix = (acquired.kspace.shape[-2], acquired.kspace.shape[-1])
    own = _per_frame(acquired.mask, len(acquired.kspace))
    for _ in range(n_splits):
        withheld = split_samples(own, matrix, random)
        if bool(withheld.any()):
            yield _withheld_trial(acquired, own, withheld, modality, name)


def _per_frame(mask: SamplingMask, n_frames: int) -> SamplingMask:
    """Return a mask per frame, with one column where whole lines were acquired."""
    lines = mask[..., :1] if is_constant_along_readout(mask) else mask
    return lines.expand(n_frames, *lines.shape[1:]).clone()


def _withheld_trial(
    acquired: CalibratedSlice,
    own: SamplingMask,
    withheld: SamplingMask,
    modality: str | None,
    name: str,
) -> Trial:
    kept = own & ~withheld
    everything = encode_slice(acquired.kspace.clone(), own, acquired.noise_sigma)
    encoding, kspace = compress_coils(everything.encoding, everything.kspace)
    mask = _in_domain(kept, encoding.mask)
    part = CartesianEncoding(encoding.maps, mask, encoding.axes)
    calibrated = everything.calibrated & mask.all(0, keepdim=True)
    given = prepare(part, kspace * mask, calibrated, acquired.noise_sigma)
    hidden = _in_domain(withheld, encoding.mask)
    own_samples = Withheld(kspace * hidden / given.scale, hidden)
    return Trial(given, modality, name, withheld=own_samples)


def _in_domain(mask: SamplingMask, like: SamplingMask) -> SamplingMask:
    """Return a mask with the readout of another: one column where lines are whole."""
    if mask.shape[-1] < like.shape[-1]:
        raise ShapeError("a mask of lines cannot stand for one of points")
    return mask[..., : like.shape[-1]]


def require_frames_alike(acquired: CalibratedSlice, full: CalibratedSlice, limit: float) -> None:
    """Raise `DataError` unless a reference holds the samples that were acquired.

    A reference of another patient, or with frames in another order, differs by more than noise.
    """
    mask = acquired.mask
    for frame, samples in enumerate(acquired.kspace):
        own = mask[frame if len(mask) > 1 else 0]
        difference = (full.kspace[frame] * full.scale - samples * acquired.scale) * own
        known = samples * acquired.scale * own
        error = float(difference.abs().square().sum() / known.abs().square().sum())
        if not error <= limit:
            raise DataError(
                f"the reference differs from the scan in frame {frame} by "
                f"{100 * error**0.5:.3g} % of its samples, allowed are {100 * limit**0.5:.3g} %",
                hint="is it of another patient, or are its frames in another order?",
            )
