"""What the network is given of a slice: few coils, one scale, a first image, facts in numbers."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex
from torch import Tensor

from mrcli.nn.first_image import sense_image, sparse_image
from mrcli.nn.normal import NormalOperator
from mrcli.nn.regularizer import Context
from mrcli.physics.encoding import Axes, CartesianEncoding
from mrcli.physics.sense import (
    adjoint_image,
    map_error_regularization,
    wiener_regularization,
)
from mrcli.types import Image, KSpace, SamplingMask, SensitivityMaps

VirtualKSpace = Complex[Tensor, "frame virtual y x"]
OneImage = Complex[Tensor, "1 y x"]

N_FACTS = 6
_N_VIRTUAL_COILS = 10  # as many as the scanners of CMRxRecon2025 deliver
_SCALE_QUANTILE = 0.99  # of the magnitude: what is bright, but not the brightest pixel
_MOST_FOR_QUANTILE = 2**20  # pixels; torch.quantile takes no more than 2**24
_LEAST_NOISE = 1e-6  # of the scale: single precision ends there
_LEAST_CHANGE = 1e-4  # of the image: less is as good as none


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class NetworkInput:
    """One slice as the network sees it, divided by `scale`."""

    combined: Image  # A^H y, (frame, y, x)
    start: Image  # `mrcli.nn.first_image`
    average: OneImage  # of all samples of all frames together
    maps: SensitivityMaps  # (coil, y, x) of virtual coils
    mask: SamplingMask  # (frame or 1, 1, y, x or 1)
    axes: Axes
    facts: Context
    scale: float

    @property
    def encoding(self) -> CartesianEncoding:
        """Return the operator of the virtual coils."""
        return CartesianEncoding(self.maps.unsqueeze(0), self.mask, self.axes)

    def columns(self, kept: slice) -> "NetworkInput":
        """Return some columns: where whole lines were acquired each is its own problem."""
        names = ("combined", "start", "average", "maps")
        return replace(self, **{name: getattr(self, name)[..., kept] for name in names})

    def frames(self, kept: slice) -> "NetworkInput":
        """Return some frames; what all frames share stays."""
        mask = self.mask if len(self.mask) == 1 else self.mask[kept]
        return replace(self, combined=self.combined[kept], start=self.start[kept], mask=mask)

    def to(self, device: torch.device | str) -> "NetworkInput":
        """Return the same on a device."""
        moved = {
            name: one.to(device) for name, one in vars(self).items() if isinstance(one, Tensor)
        }
        return replace(self, **moved)  # type: ignore[arg-type]


def prepare(
    encoding: CartesianEncoding, kspace: KSpace, calibrated: SamplingMask, noise_sigma: float
) -> NetworkInput:
    """Return what the network is given of ``(frame, coil, y, x)`` data in the encoding's domain."""
    encoding, kspace = compress_coils(encoding, kspace)
    weight = wiener_regularization(encoding, kspace, noise_sigma, calibrated)
    weight += map_error_regularization(encoding)
    combined = adjoint_image(encoding, kspace)
    normal = NormalOperator.of(encoding)
    sense = sense_image(normal, combined, weight)
    start = sparse_image(normal, combined, sense, noise_sigma, encoding.axes)
    scale = _bright(sense) or float(sense.abs().amax()) or 1.0  # small objects are not bright
    average = _time_average(encoding, kspace)
    return NetworkInput(
        combined / scale,
        start / scale,
        average / scale,
        encoding.maps[0],
        encoding.mask,
        encoding.axes,
        torch.cat([_facts(encoding, calibrated, noise_sigma / scale), _found(start, sense)]),
        scale,
    )


def compress_coils(
    encoding: CartesianEncoding, kspace: KSpace, n_virtual: int = _N_VIRTUAL_COILS
) -> tuple[CartesianEncoding, VirtualKSpace]:
    """Return encoding and data of the virtual coils that see most of the object.

    The rotation of coils is unitary: white noise stays white
    (Buehrer 2007, doi:10.1002/mrm.21237; Huang 2008, doi:10.1016/j.mri.2007.04.010).
    """
    maps = encoding.maps[0]
    if len(maps) <= n_virtual:
        return encoding, kspace
    samples = [one.flatten(1) for one in kspace]  # one frame at a time: slices are large
    covariance = torch.stack([one @ one.mH for one in samples]).sum(0)
    vectors = torch.linalg.eigh(covariance).eigenvectors
    rotation = vectors[:, -n_virtual:].flip(1).mH  # (virtual, coil)
    virtual = torch.einsum("vc,cyx->vyx", rotation, maps)
    compressed = torch.stack([torch.einsum("vc,cyx->vyx", rotation, one) for one in kspace])
    return replace(encoding, maps=virtual.unsqueeze(0)), compressed


def _time_average(encoding: CartesianEncoding, kspace: KSpace) -> OneImage:
    """Return the image of each sample's mean over the frames that hold it."""
    masks = encoding.mask.expand(len(kspace), -1, -1, -1)
    counts = masks.sum(0)
    total = torch.zeros_like(kspace[0])
    for mask, frame in zip(masks, kspace, strict=True):
        total += mask * frame
    mean = total / counts.clamp(min=1)
    whole = replace(encoding, mask=counts.bool().unsqueeze(0))
    return whole.adjoint(mean.unsqueeze(0))


def _bright(image: Image) -> float:
    magnitude = image.abs().flatten()
    stride = math.ceil(magnitude.numel() / _MOST_FOR_QUANTILE)
    return float(magnitude[::stride].quantile(_SCALE_QUANTILE))


def _facts(encoding: CartesianEncoding, calibrated: SamplingMask, noise: float) -> Context:
    """Return logarithms of noise and acceleration, all of order 1."""
    mask = encoding.mask
    per_frame = mask.numel() / max(int(mask.sum()), 1)
    together = mask.any(0)
    overall = together.numel() / max(int(together.sum()), 1)
    facts = (
        (math.log10(max(noise, _LEAST_NOISE)) + 2) / 2,
        math.log2(per_frame) / 2 - 1,
        math.log2(overall) / 2 - 1,
        math.log2(max(float(calibrated.float().mean()), 1e-3)) / 4 + 1,
    )
    return torch.tensor(facts, device=mask.device)


def _found(start: Image, sense: Image) -> Context:
    """Return whether there are frames to compare, and how much sparsity changed, of order 1.

    Where SENSE and the sparse image agree, little is left to correct.
    """
    change, power = (float(one.norm()) for one in (start - sense, start))
    relative = max(change / power, _LEAST_CHANGE) if power > 0 else _LEAST_CHANGE
    facts = (float(len(start) > 1), (math.log10(relative) + 1.5) / 1.5)
    return torch.tensor(facts, device=start.device)
